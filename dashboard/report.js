"use strict";
(() => {
  const entries = JSON.parse(document.getElementById("episode-data").textContent);
  const $ = (id) => document.getElementById(id);
  const slider = $("slider");
  const ARROWS = { up: "↑", down: "↓", left: "←", right: "→" };
  const TILES = ["wall", "floor", "target", "box on target", "box", "player", "player on target"];
  const FRAME_MS = 450;
  let sides = []; // of the entry shown: {data, draw}
  let timer = null;

  // Text only ever enters the page as text nodes and attribute values, never as markup.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function shape(tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function drawBoard(svg, frame) {
    const rows = frame.split("/");
    svg.setAttribute("viewBox", `0 0 ${rows[0].length} ${rows.length}`);
    const cells = rows.flatMap((row, y) =>
      [...row].map((code, x) => shape("use", { href: `#tile-${code}`, x, y, width: 1.01, height: 1.01 })));
    svg.replaceChildren(...cells);
  }

  function describe(frame) {
    const rows = frame.split("/");
    const things = rows.flatMap((row, y) => [...row].map((code, x) => [code, `${TILES[code]} at row ${y + 1}, column ${x + 1}`]));
    return things.filter(([code]) => code > "1").map(([, words]) => words).join("; ");
  }

  function movesOf(data) {
    const list = make("ol", { class: "moves", "aria-label": "Actions" });
    const buttons = data.steps.map((step, index) => {
      const known = ARROWS[step.action];
      const button = make("button", { type: "button", "aria-label": `Step ${index + 1}: ${step.action || "no action"}` });
      button.textContent = step.status && !known ? "✕" : known || step.action || "·";
      button.addEventListener("click", () => { pause(); show(index + 1); });
      list.append(make("li", {}, button));
      return button;
    });
    const short = data.steps.every((step) => step.action.length <= 12);
    return [short ? list : "", short ? buttons : []];
  }

  function ahead(step) {
    if (step.deadlock) return "no longer solvable";
    return step.distance > 0 ? `${step.distance} moves to go` : "";
  }

  function buildSide(data) {
    const isBoard = data.kind === "board";
    const world = isBoard ? shape("svg", { class: "board", role: "img" }) : make("pre", { class: "world", tabindex: "0" });
    const [moves, buttons] = movesOf(data);
    const said = make("p", { class: "said" });
    const response = make("pre", { class: "response", tabindex: "0" });
    const outcome = make("span", { class: data.won ? "chip good" : "chip" });
    outcome.textContent = data.outcome;
    const title = make("span");
    title.textContent = data.name;
    const failure = make("p", { class: "failure" });
    failure.textContent = data.failure;
    const element = make("div", { class: "side" }, make("header", {}, title, outcome), world, moves, said, response, failure);
    function draw(position) {
      const at = Math.min(position, data.frames.length - 1);
      if (isBoard) {
        drawBoard(world, data.frames[at]);
        world.setAttribute("aria-label", `Board after ${at} steps. ${describe(data.frames[at])}`);
      } else {
        world.textContent = data.frames[at];
      }
      buttons.forEach((button, index) => {
        button.classList.toggle("past", index < at);
        if (index === at - 1) button.setAttribute("aria-current", "step");
        else button.removeAttribute("aria-current");
      });
      const step = data.steps[at - 1];
      const over = at === data.frames.length - 1 && data.left_out ? `, ${data.left_out} later steps left out` : "";
      said.textContent = step
        ? `Response ${at}: ${[`reward ${step.reward}`, step.status, ahead(step)].filter(Boolean).join(", ")}${over}`
        : Number.isFinite(data.distance) ? `Start: solvable in ${data.distance} moves` : "Start";
      response.textContent = step ? step.response : "";
    }
    return { data, element, draw };
  }

  function show(position) {
    const last = Number(slider.max);
    const at = Math.max(0, Math.min(position, last));
    slider.value = at;
    slider.setAttribute("aria-valuetext", `Step ${at} of ${last}`);
    $("position").textContent = `step ${at} of ${last}`;
    for (const side of sides) side.draw(at);
    if (at === last) pause();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    $("play").textContent = "Play";
  }

  function play() {
    if (timer !== null) { pause(); return; }
    if (slider.value === slider.max) show(0);
    $("play").textContent = "Pause";
    timer = setInterval(() => show(Number(slider.value) + 1), FRAME_MS);
  }

  function select(index) {
    pause();
    document.querySelectorAll(".pick").forEach((pick, number) => pick.setAttribute("aria-pressed", number === index));
    sides = entries[index].sides.map(buildSide);
    $("sides").replaceChildren(...sides.map((side) => side.element));
    $("legend").hidden = sides.every((side) => side.data.kind !== "board");
    slider.max = Math.max(...sides.map((side) => side.data.frames.length - 1));
    show(0);
  }

  function buildPicks() {
    let heading = null;
    let strip = null;
    entries.forEach((entry, index) => {
      const first = entry.sides[0];
      const final = entry.sides[entry.sides.length - 1];
      if (entry.heading !== heading) {
        heading = entry.heading;
        strip = make("div", { class: first.kind === "board" ? "strip" : "strip words", role: "group", "aria-label": heading });
        const title = make("h3");
        title.textContent = heading;
        $("picks").append(title, strip);
      }
      const words = `${final.task_type || `Episode ${index + 1}`}, ${final.outcome}`;
      const button = make("button", { type: "button", class: "pick", "aria-label": words, title: words });
      if (first.kind === "board") {
        const picture = shape("svg", { "aria-hidden": "true" });
        drawBoard(picture, first.frames[0]);
        button.append(picture);
      } else {
        button.textContent = words;
      }
      button.addEventListener("click", () => select(index));
      strip.append(button);
    });
  }

  slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
  $("play").addEventListener("click", play);
  for (const [id, target] of [
    ["first", () => 0], ["back", () => Number(slider.value) - 1], ["next", () => Number(slider.value) + 1], ["last", () => Number(slider.max)],
  ]) $(id).addEventListener("click", () => { pause(); show(target()); });

  buildPicks();
  $("viewer").hidden = false;
  select(0);
})();
