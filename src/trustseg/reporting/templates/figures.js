// Unpacks Plotly, which this page holds compressed, and draws every figure from the JSON beside it; nothing is fetched.
// Where a browser cannot, the class "plain" stays and the still pictures are shown.
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const library = document.createElement("script");
  library.textContent = await new Response(stream).text();
  document.head.append(library);
  document.documentElement.classList.remove("plain");
  document.querySelectorAll("script[data-figure]").forEach((source) => {
    const panels = document.getElementById(source.dataset.figure);
    JSON.parse(source.textContent).forEach((figure) => {
      const panel = panels.appendChild(document.createElement("div"));
      Plotly.newPlot(panel, figure.data, figure.layout, { responsive: true, displayModeBar: false });
    });
  });
  document.documentElement.classList.add("drawn");
})();
