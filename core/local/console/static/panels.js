// What stands beside the rows: weights, adapter, patterns, experiments, the route of words, and what was learned here.

import { PARTS, nameOf, signed } from "./compare.js";
import { decimal, find, make, percent, withCode } from "./page.js";

const ROUTES = {
  gnn_similarity: "like a title that was named",
  vector_search: "a description",
  mood_matching: "a mood",
  catalog_freshness: "what is new or leaving",
  availability_check: "where something can be watched",
  personalized_hybrid: "taste, with hardly a wish in words",
  out_of_domain: "nothing about films or series",
};
const DEGRADED = {
  user_state: "the viewer's state (this is a cold start)",
  adapter: "the viewer's adapter",
  patterns: "patterns",
  hot_store: "the hot store (answers come from the database)",
  popularity: "what is trending now",
  experiments: "experiments",
  router: "the router of words",
  routing_counters: "what was seen of earlier routes",
  cold_store: "the database",
  encoder: "the text encoder (words are matched as they are written)",
  snapshot: "a look for a newer snapshot",
};
const VERDICTS = { accepted: "kept: it does better on what was held back", rolled_back: "undone: it did worse on what was held back" };

export function showWeights(weights, plain) {
  const names = Object.keys(PARTS).filter((part) => weights[part] || plain[part]);
  const largest = Math.max(...names.map((part) => Math.max(weights[part] ?? 0, plain[part] ?? 0)), 0.01);
  find("weights").replaceChildren(
    ...names.map((part) => {
      const [own, without] = [weights[part] ?? 0, plain[part] ?? 0];
      const meter = make("span", { class: "meter", role: "img", "aria-label": `${percent(own)}, with learning off ${percent(without)}` });
      const fill = make("i", { "data-part": part });
      fill.style.width = `${(100 * own) / largest}%`;
      const mark = make("em");
      mark.style.insetInlineStart = `${(100 * without) / largest}%`;
      meter.append(fill, mark);
      return make("li", { title: PARTS[part][1] }, make("span", {}, nameOf(part)), meter, make("b", {}, percent(own)));
    }),
  );
}

export function showDegraded(names) {
  const place = find("degraded");
  place.hidden = !names.length;
  place.textContent = names.length ? `Answered without ${names.map((name) => DEGRADED[name] ?? nameOf(name)).join(", ")}.` : "";
}

/** stats: /api/v1/adapter/stats, or a Problem. actions: {rollBack(version), train()}. */
export function showAdapter(stats, actions) {
  if (stats instanceof Error) return find("adapter").replaceChildren(make("p", { class: "note" }, ...withCode(`${stats.message} ${stats.remedy ?? ""}`)));
  const latest = stats.adaptations[0];
  const fast = stats.fast_tier;
  const entries = [
    ["Interactions", String(stats.interaction_count)],
    ["Slow tier", stats.adapter_version ? `version ${stats.adapter_version}, ${stats.hot_bytes} bytes hot` : "none yet: it is trained in the background after some interactions"],
    latest && ["Latest training", `${VERDICTS[latest.verdict] ?? latest.verdict.replaceAll("_", " ")}`],
    latest && ["Held-back loss", `${decimal(latest.metrics.held_back_before, 3)} → ${decimal(latest.metrics.held_back_after, 3)}`],
    stats.adapter_version > 0 && ["Norm", `${decimal(stats.norm, 3)} slow${fast ? `, ${decimal(fast.norm, 3)} fast` : ""}`],
    ["Fast tier", fast ? `${fast.updates} updates, ${fast.useful ? "applied" : "not applied until it foretells"}: gain ${signed(fast.gain)} nats` : "nothing learned yet"],
    stats.ewc_tasks > 0 && ["Kept from forgetting", `${stats.ewc_tasks} tasks, Fisher mass ${decimal(stats.fisher_mass, 3)}`],
  ].filter(Boolean);
  const list = make("dl", {}, ...entries.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  return find("adapter").replaceChildren(list, controls(stats, actions));
}

function controls(stats, actions) {
  const box = make("div", { class: "together" });
  const train = make("button", { type: "button", id: "train" }, "Train now");
  train.addEventListener("click", actions.train);
  const earlier = stats.versions.filter((version) => version !== stats.adapter_version);
  if (earlier.length) {
    const options = earlier.map((version) => make("option", { value: version }, `version ${version}`));
    const choice = make("select", { "aria-label": "Version to roll back to" }, ...options);
    const back = make("button", { type: "button", id: "roll-back" }, "Roll back");
    back.addEventListener("click", () => actions.rollBack(Number(choice.value)));
    box.append(choice, back);
  }
  box.append(train);
  return box;
}

/** found: /api/v1/patterns/search; used: ids of the patterns that lifted titles of the answer. */
export function showPatterns(found, used, factsOf) {
  const place = find("patterns");
  if (!found) return place.replaceChildren(make("p", { class: "note" }, "None can match before something was liked."));
  if (!found.patterns.length) {
    return place.replaceChildren(make("p", { class: "note" }, `None of ${found.total_patterns_searched} matches what these titles are based on.`));
  }
  const said = used.size ? "The marked one lifted titles of this answer." : "None of these lifts a title of this answer: the circumstances differ, or their titles were seen.";
  const entries = found.patterns.map((pattern) => {
    const titles = Object.entries(pattern.results).filter(([, weight]) => weight > 0).map(([id]) => factsOf(id).title);
    const when = Object.values(pattern.context).join(", ").replaceAll("_", " ");
    const facts = `likeness ${decimal(pattern.similarity)}, went well ${percent(pattern.success_rate)}${when ? `, ${when}` : ""}`;
    return make("li", { class: used.has(pattern.pattern_id) ? "used" : "" }, make("b", {}, titles.join(", ")), make("span", { class: "note" }, facts));
  });
  return place.replaceChildren(make("p", { class: "note" }, said), make("ul", { class: "pattern-list" }, ...entries));
}

export function showExperiments(variants) {
  const entries = Object.entries(variants).map(([name, variant]) => make("li", {}, make("b", {}, variant), ` in ${name}`));
  const none = make("p", { class: "note" }, "None is running. ", make("code", {}, "sona experiment create bolder --variant control --variant bold:1:mmr_lambda=0.5 --start"), " starts one.");
  find("experiments").replaceChildren(entries.length ? make("ul", { class: "similar" }, ...entries) : none);
}

/** routing: of the answer; mechanisms: /api/v1/attention/select for the same words, or null. */
export function showRoute(routing, mechanisms, factsOf) {
  const place = find("route");
  place.hidden = !routing;
  if (!routing) return;
  const routes = routing.routes.map(({ route_name: name, confidence }) => {
    const meter = make("span", { class: "meter", "aria-hidden": "true" }, make("i"));
    meter.firstChild.style.width = percent(confidence).replace(" ", "");
    return make("li", {}, make("span", {}, make("b", {}, ROUTES[name] ?? name), " ", make("code", {}, name)), meter, make("b", {}, percent(confidence)));
  });
  const said = entitiesOf(routing.entities, factsOf);
  const tags = said.length ? make("ul", { class: "tags" }, ...said.map(([kind, text]) => make("li", {}, make("span", {}, kind), text))) : make("p", { class: "note" }, "No title, person, genre or service is named.");
  const parts = [make("ul", { class: "weights" }, ...routes), tags];
  if (mechanisms) parts.push(make("p", { class: "note" }, `Attention that suits it: ${mechanisms.mechanisms.map((one) => `${one.mechanism.replaceAll("_", " ")} ${percent(one.weight)}`).join(", ")}`));
  if (routing.availability.length) parts.push(offers(routing.availability, factsOf));
  find("route-body").replaceChildren(...parts);
}

function entitiesOf(entities, factsOf) {
  const range = [entities.year_min, entities.year_max];
  return [
    ...entities.titles.map(({ content_ids: ids, mention }) => ["title", ids.length ? factsOf(ids[0]).title : mention]),
    ...entities.people.map((name) => ["person", name]),
    ...entities.genres.map((name) => ["genre", name]),
    ...entities.exclude_genres.map((name) => ["without", name]),
    ...entities.services.map((name) => ["service", name]),
    ...(entities.own_services ? [["service", "the viewer's own"]] : []),
    ...entities.regions.map((name) => ["region", name]),
    ...entities.languages.map((name) => ["language", name]),
    ...entities.types.map((name) => ["type", name]),
    ...(range.some(Boolean) ? [["years", range.map((year) => year ?? "").join("–")]] : []),
    ...(entities.mood ? [["mood", entities.mood]] : []),
  ];
}

function offers(found, factsOf) {
  const entries = found.slice(0, 8).map((offer) => {
    const until = offer.expires_at ? ` until ${offer.expires_at.slice(0, 10)}` : "";
    return make("li", {}, make("b", {}, factsOf(offer.content_id).title), ` on ${offer.service}, ${offer.region}${until} (simulated)`);
  });
  return make("ul", { class: "similar" }, ...entries);
}

/** One more line of what was learned here, the latest first. */
export function addToLog(what, milliseconds, said) {
  find("log-empty").hidden = true;
  const took = milliseconds === null ? "" : `${Math.round(milliseconds)} ms: `;
  find("log").prepend(make("li", {}, make("b", {}, what), make("span", { class: "note" }, `${took}${said}`)));
}

export function clearLog() {
  find("log").replaceChildren();
  find("log-empty").hidden = false;
}
