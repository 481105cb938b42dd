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
    const figure = JSON.parse(source.textContent);
    const target = document.getElementById(source.dataset.figure);
    Plotly.newPlot(target, figure.data, figure.layout, { responsive: true, displayModeBar: false });
  });
  document.documentElement.classList.add("drawn");
})();
