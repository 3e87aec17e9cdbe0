// The sheet of one title: what it is, what its score is made of, and what is like it.

import { call, titlesOf } from "./api.js";
import { PARTS, nameOf } from "./compare.js";
import { find, make } from "./page.js";
import { poster } from "./poster.js";
import { factsLine, partsOf } from "./rows.js";

const SIMILAR = 6;

/** Open the sheet. current: tells whether the viewer is still the one who asked. */
export async function openDetails(item, current) {
  const facts = (await titlesOf([item.content_id]))(item.content_id);
  find("details-title").textContent = item.title;
  find("details-facts").textContent = factsLine(facts);
  find("details-people").textContent = peopleOf(facts);
  find("details-overview").textContent = facts.overview;
  find("details-poster").replaceChildren(poster(item.content_id, facts));
  showParts(item);
  find("details-similar").replaceChildren(make("li", {}, "…"));
  find("details").showModal();
  const found = await call("/api/v1/recommendations/similar", { content_id: item.content_id, limit: SIMILAR });
  if (current()) showSimilar(found.similar_content);
}

function peopleOf({ makers, cast }) {
  const said = [makers.length && `by ${makers.join(" and ")}`, cast.length && `with ${cast.join(", ")}`].filter(Boolean);
  const text = said.join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function showSimilar(similar) {
  const entries = similar.map((item) => make("li", {}, make("b", {}, item.title), make("span", { class: "note" }, ` ${item.relation}`)));
  find("details-similar").replaceChildren(...(entries.length ? entries : [make("li", {}, "None.")]));
}

function showParts(item) {
  const rows = partsOf(item).map(([part, value]) => line(nameOf(part), PARTS[part]?.[1] ?? "", value, part));
  const total = line("together", "share of the highest possible score", item.confidence_score);
  find("details-parts").tBodies[0]?.remove();
  find("details-parts").append(make("tbody", {}, ...rows, total));
}

function line(name, meaning, value, part = null) {
  const head = make("th", { scope: "row" }, ...(part ? [make("i", { "data-part": part })] : []), name);
  return make("tr", {}, head, make("td", {}, meaning), make("td", { class: "number" }, value.toFixed(4).replace("-", "−")));
}
