// A map of the tiles of one shared function. The address of the page is …/{token}/map; its query is passed on to the
// tiles: format (mvt or png, …) and the function's own parameters. No request leaves this server.
import * as maplibregl from "./maplibre-gl.mjs";

const base = location.href.split("?")[0].replace(/\/map$/, "");
const panel = { name: document.getElementById("name"), status: document.getElementById("status"), feature: document.getElementById("feature") };

function say(text, isError = false) {
  panel.status.textContent = text;
  panel.status.className = isError ? "error" : "";
}

function layersOf(format) {
  if (format !== "mvt")
    return [{ id: "raster", type: "raster", source: "tiles" }];
  const source = { source: "tiles", "source-layer": "udf" };
  const only = (type) => ({ filter: ["==", ["geometry-type"], type] });
  return [
    { id: "fill", type: "fill", ...source, ...only("Polygon"), paint: { "fill-color": "#2f6fde", "fill-opacity": 0.35 } },
    { id: "outline", type: "line", ...source, ...only("Polygon"), paint: { "line-color": "#1c4fae", "line-width": 1 } },
    { id: "line", type: "line", ...source, ...only("LineString"), paint: { "line-color": "#1c4fae", "line-width": 1.5 } },
    { id: "point", type: "circle", ...source, ...only("Point"), paint: { "circle-color": "#d7462c", "circle-radius": 3.5, "circle-stroke-width": 0.5, "circle-stroke-color": "#fff" } },
  ];
}

async function start() {
  const reply = await fetch(`${base}/tilejson.json${location.search}`);
  const tilejson = await reply.json();
  if (!reply.ok) return say(tilejson.message, true);
  panel.name.textContent = tilejson.name;
  document.title = `${tilejson.name} — preview`;
  const isVector = tilejson.format === "mvt";
  const map = new maplibregl.Map({
    container: "map",
    hash: true,
    center: [10, 30],
    zoom: 1.5,
    style: {
      version: 8,
      sources: {
        land: { type: "geojson", data: `${base}/map/land.json`, tolerance: 0 },
        tiles: { type: isVector ? "vector" : "raster", tiles: tilejson.tiles, minzoom: tilejson.minzoom, maxzoom: isVector ? 14 : tilejson.maxzoom, ...(isVector ? {} : { tileSize: 256 }) },
      },
      layers: [
        { id: "sea", type: "background", paint: { "background-color": "#dfe7ee" } },
        { id: "land", type: "fill", source: "land", paint: { "fill-color": "#f7f6f2", "fill-outline-color": "#c9c5b8" } },
        ...layersOf(tilejson.format),
      ],
    },
  });
  let failures = 0;
  map.on("error", (event) => {
    failures += 1;
    say(`${failures} tiles failed: ${event.error?.message ?? "unknown error"}`, true);
  });
  map.on("idle", () => failures === 0 && say(`${tilejson.format} tiles, zoom ${map.getZoom().toFixed(1)}`));
  map.addControl(new maplibregl.NavigationControl());
  if (isVector)
    map.on("click", (event) => {
      const [feature] = map.queryRenderedFeatures(event.point, { layers: ["fill", "line", "point"] });
      panel.feature.hidden = !feature;
      if (feature) panel.feature.textContent = Object.entries(feature.properties).map(([name, value]) => `${name}: ${value}`).join("\n");
    });
  window.previewMap = map; // for tests and the console
}

start().catch((error) => say(String(error), true));
