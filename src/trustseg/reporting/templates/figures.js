document.documentElement.classList.remove("plain");
// Draws every figure from the JSON beside it; nothing is fetched.
document.querySelectorAll("script[data-figure]").forEach((source) => {
  const figure = JSON.parse(source.textContent);
  const target = document.getElementById(source.dataset.figure);
  const options = {
    responsive: true,
    displayModeBar: false,
  };
  Plotly.newPlot(target, figure.data, figure.layout, options);
});
