(function () {
  "use strict";
  const section = document.getElementById("gallery"), source = document.getElementById("gallery-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const pictures = JSON.parse(document.getElementById("gallery-pictures").textContent);
  const form = document.getElementById("gallery-filters"), list = section.querySelector(".cards");
  const more = document.getElementById("gallery-more"), dialog = document.getElementById("gallery-example");
  const fields = form.elements, numVariants = data.variants.length, all = 0, perPage = 60;
  const kinds = { changed: 1, lost: 2, gained: 4, disputed: 8, significant: 16 };

  /* ------------------------------------------------------------------------------------------------------ cards */

  const cards = data.cards.map(function (packed) {
    const [id, key, label, modes, agreements, moved, attribute] = packed;
    const card = { id, key, label, modes, agreements, attribute, moved: new Map(), text: (key + " " + id).toLowerCase() };
    card.anchor = "example-" + id + (attribute === undefined ? "" : "-" + encodeURIComponent(attribute));
    moved.forEach(([place, taxicab, p, q, significant]) => card.moved.set(place, { taxicab, p, q, significant }));
    /* what kind of change each variant is; at 0, all of them together */
    card.kinds = modes.map(function (mode, place) {
      const row = card.moved.get(place), significant = row && row.significant ? kinds.significant : 0;
      if (place === 0 || !isChanged(card, place)) return significant;
      const how = modes[0] === label ? kinds.lost : mode === label ? kinds.gained : kinds.disputed;
      return kinds.changed | how | significant;
    });
    card.kinds[all] = card.kinds.reduce((found, kind) => found | kind, 0);
    return card;
  });
  const attributes = [...new Set(cards.map((card) => card.attribute))].filter((name) => name !== undefined).sort();
  const labels = [...new Set(cards.map((card) => card.label))].sort((a, b) => a - b);

  function isChanged(card, place) {
    return card.modes[place] !== null && card.modes[place] !== card.modes[0];
  }
  function className(index) {
    return data.classes[index] === undefined ? "class " + index : data.classes[index];
  }
  function titleOf(card) {
    return "example " + card.id + (card.attribute === undefined ? "" : " · " + card.attribute);
  }
  function number(value) {
    return value.toLocaleString("en-US");
  }

  /* ------------------------------------------------------------------------------------------------------ state */

  const initial = { variant: data.chosen, class: "", attribute: "", kind: "changed", order: "moved", text: "" };
  let state = { ...initial }, found = [], numShown = 0, opened = null;

  function readForm() {
    state = {
      variant: Number(fields.variant.value), class: fields.class.value, attribute: fields.attribute.value,
      kind: fields.kind.value, order: fields.order.value, text: fields.text.value.trim().toLowerCase(),
    };
  }
  function writeForm() {
    for (const name in state) fields[name].value = String(state[name]);
    /* a link from elsewhere may name what is not here */
    for (const name in state) if (fields[name].tagName === "SELECT" && fields[name].selectedIndex < 0)
      fields[name].value = String(initial[name]);
    readForm();
  }
  function fragment() {
    const named = new URLSearchParams();
    for (const name in state) if (state[name] !== initial[name])
      named.set(name, name === "variant" ? variantName(state.variant) : state[name]);
    return String(named) && "#gallery?" + named;
  }
  function variantName(place) {
    return place === all ? "all" : data.variants[place];
  }
  function remember(hash) {
    /* a page in a sandbox may not be allowed to */
    try { history.replaceState(null, "", hash || location.href.split("#")[0]); } catch (error) { return; }
  }
  function follow() {
    const hash = location.hash;
    if (hash.startsWith("#gallery?")) {
      const named = Object.fromEntries(new URLSearchParams(hash.slice(9)));
      state = { ...initial };
      for (const name in named) if (name in initial) state[name] = named[name];
      if ("variant" in named) state.variant = named.variant === "all" ? all : data.variants.indexOf(named.variant, 1);
      writeForm();
      refresh();
      section.scrollIntoView();
    } else if (hash.startsWith("#example-")) {
      const card = cards.find((other) => sameAnchor(other, hash.slice(1)));
      if (card) {
        section.scrollIntoView();
        open(card);
      }
      return;
    }
    if (dialog.open) dialog.close();
  }
  function sameAnchor(card, name) {
    if (card.anchor === name) return true;
    try { return decodeURIComponent(card.anchor) === decodeURIComponent(name); } catch (error) { return false; }
  }

  /* ---------------------------------------------------------------------------------------------------- filters */

  function fits(card, without) {
    const wanted = without === "kind" ? ~0 : kinds[state.kind];
    return (without === "variant" || (card.kinds[state.variant] & wanted) !== 0)
      && (without === "class" || state.class === "" || card.label === Number(state.class))
      && (without === "attribute" || state.attribute === "" || card.attribute === state.attribute)
      && (state.text === "" || card.text.includes(state.text));
  }
  /* the options that a card counts for */
  const optionsOf = {
    variant: (card) => [...card.kinds.keys()].filter((place) => card.kinds[place] & kinds[state.kind]),
    class: (card) => ["", card.label],
    attribute: (card) => ["", card.attribute],
    kind: (card) => Object.keys(kinds).filter((kind) => card.kinds[state.variant] & kinds[kind]),
  };
  function countOptions() {
    /* each select says how many there would be, all others as they are */
    for (const name in optionsOf) {
      const counts = Object.create(null);
      cards.forEach(function (card) {
        if (fits(card, name)) optionsOf[name](card).forEach((value) => { counts[value] = (counts[value] || 0) + 1; });
      });
      for (const option of fields[name].options)
        option.textContent = option.dataset.name + " (" + number(counts[option.value] || 0) + ")";
    }
  }
  function addOptions(name, values) {
    fields[name].replaceChildren(...values.map(function ([value, text]) {
      const option = document.createElement("option");
      option.value = value;
      option.dataset.name = text;
      return option;
    }));
  }

  /* ------------------------------------------------------------------------------------------------------ order */

  function places(card) {
    const one = state.variant;
    if (one !== all) return [one];
    const changed = card.modes.map((mode, place) => place).filter((place) => place && isChanged(card, place));
    return changed.length ? changed : [...card.moved.keys()];
  }
  function extreme(card, value, choose, missing) {
    return places(card).reduce(function (best, place) {
      const found = value(place);
      return found === undefined || found === null ? best : choose(best, found);
    }, missing);
  }
  const orders = {
    moved: (card) => -extreme(card, (place) => (card.moved.get(place) || {}).taxicab, Math.max, 0),
    variants: (card) => -card.modes.filter((mode, place) => isChanged(card, place)).length,
    sure: (card) => -card.agreements[0],
    split: (card) => extreme(card, (place) => card.agreements[place], Math.min, 100),
    significance: (card) => extreme(card, (place) => (card.moved.get(place) || {}).p, Math.min, 2),
    id: () => 0,
  };
  function sorted(chosen) {
    const rank = new Map(chosen.map((card) => [card, orders[state.order](card)]));
    return chosen.sort((a, b) => rank.get(a) - rank.get(b) || a.id - b.id
      || attributes.indexOf(a.attribute) - attributes.indexOf(b.attribute));
  }

  /* ---------------------------------------------------------------------------------------------------- drawing */

  const template = list.querySelector(".card").cloneNode(true);
  const lineTemplate = template.querySelector(".line.right, .line.wrong").cloneNode(true);
  template.querySelectorAll(".line.right, .line.wrong, em, .picture").forEach((part) => part.remove());

  function draw(card) {
    const item = template.cloneNode(true), link = item.querySelector("a"), label = item.querySelector(".true");
    item.id = card.anchor;
    item.dataset.example = card.id;
    link.href = "#" + card.anchor;
    link.textContent = titleOf(card);
    label.querySelector("b").textContent = className(card.label);
    item.querySelector(".key").textContent = card.key;
    label.after(line("dense", card, 0), ...changedLines(card));
    if (places(card).some((place) => (card.moved.get(place) || {}).significant)) link.after(element("em", "significant"));
    if (!list.classList.contains("plain")) item.prepend(picture(card));
    return item;
  }
  function picture(card) {
    const uri = pictures[card.id], drawn = element(uri ? "img" : "div", uri ? "" : "no picture here");
    drawn.className = uri ? "picture" : "picture none";
    if (uri) Object.assign(drawn, { alt: "labelled " + className(card.label), decoding: "async", loading: "lazy", src: uri });
    return drawn;
  }
  function changedLines(card) {
    if (state.variant !== all) return [line("now", card, state.variant)];
    const others = card.modes.map((mode, place) => place).slice(1).filter((place) => card.modes[place] !== null);
    const changed = others.filter((place) => isChanged(card, place));
    const lines = changed.map((place) => line(data.variants[place], card, place));
    const num = others.length - changed.length;
    if (num) lines.push(element("div", num + (num === 1 ? " other answers as dense" : " others answer as dense"), "others"));
    return lines;
  }
  function line(who, card, place) {
    const drawn = lineTemplate.cloneNode(true);
    drawn.className = "line " + rightness(card, place);
    drawn.querySelector("span").textContent = who;
    drawn.querySelector("b").textContent = className(card.modes[place]);
    drawn.querySelector("i").textContent = card.agreements[place] + " %";
    return drawn;
  }
  function rightness(card, place) {
    return card.modes[place] === card.label ? "right" : "wrong";
  }
  function element(tag, text, kind) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }
  function refresh() {
    found = sorted(cards.filter((card) => fits(card)));
    countOptions();
    fields.count.textContent = number(found.length) + (found.length === 1 ? " example" : " examples");
    form.querySelector("[type=reset]").hidden = !fragment();
    list.classList.toggle("several", state.variant === all);
    list.replaceChildren();
    numShown = 0;
    showMore();
  }
  function showMore() {
    const next = found.slice(numShown, numShown + perPage).map(draw);
    list.append(...next);
    numShown += next.length;
    const left = found.length - numShown;
    more.parentElement.hidden = left === 0;
    more.textContent = "Show " + number(Math.min(left, perPage)) + " more of " + number(left);
    return next[0];
  }

  /* ----------------------------------------------------------------------------------------------------- dialog */

  function open(card) {
    opened = card;
    const place = found.indexOf(card);
    dialog.querySelector("h3").textContent = titleOf(card);
    dialog.querySelector(".where").textContent = place < 0 ? "" : number(place + 1) + " of " + number(found.length);
    dialog.querySelector(".previous").disabled = place <= 0;
    dialog.querySelector(".next").disabled = place < 0 || place === found.length - 1;
    const shown = dialog.querySelector(".shown"), about = document.createElement("dl");
    [["True label", className(card.label)], ["File key", card.key], ["Evaluation set", data.evaluationSet]]
      .forEach(([name, value]) => about.append(element("dt", name), element("dd", value)));
    shown.replaceChildren(...(list.classList.contains("plain") ? [] : [picture(card)]), about);
    shown.classList.toggle("crisp", list.classList.contains("crisp"));
    dialog.querySelector("tbody").replaceChildren(...card.modes.map((mode, other) => answerRow(card, other)));
    fields_of(dialog).rows.value = rowsOf(card);
    fields_of(dialog).link.value = location.href.split("#")[0] + "#" + card.anchor;
    remember("#" + card.anchor);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }
  function fields_of(parent) {
    return { rows: parent.querySelector("[name=rows]"), link: parent.querySelector("[name=link]") };
  }
  function answerRow(card, place) {
    const row = document.createElement("tr"), moved = card.moved.get(place) || {}, name = element("th", data.variants[place]);
    const isKnown = card.modes[place] !== null;
    const answer = element("td", isKnown ? className(card.modes[place]) : "–", isKnown ? "answer " + rightness(card, place) : "answer");
    const share = element("td", isKnown ? card.agreements[place] + " %" : "–", "share");
    name.scope = "row";
    if (isKnown) share.style.setProperty("--share", card.agreements[place] + "%");
    if (place && isChanged(card, place)) answer.append(" ", element("em", "changed"));
    const q = element("td", decimal(moved.q));
    if (moved.significant) q.append(" ", element("em", "significant"));
    row.className = place === 0 ? "reference" : place === state.variant ? "variant current" : "variant";
    row.append(name, answer, share, element("td", moved.taxicab === undefined ? "–" : number(moved.taxicab)), element("td", decimal(moved.p)), q);
    return row;
  }
  function decimal(value) {
    if (value === undefined || value === null) return "–";
    return value >= 0.001 || value === 0 ? String(Number(value.toPrecision(2))) : value.toExponential(0).replace("-", "−");
  }
  function rowsOf(card) {
    /* texts of JSON are texts of Python as well */
    const about = card.attribute === undefined ? "" : " & (pies.attribute == " + JSON.stringify(card.attribute) + ")";
    return 'pies = pd.read_parquet("analysis/pies.parquet"); pies[(pies.evaluation_set == '
      + JSON.stringify(data.evaluationSet) + ") & (pies.example_id == " + card.id + ")" + about + "]";
  }
  function step(by) {
    const next = found[found.indexOf(opened) + by];
    if (opened && found.includes(opened) && next) open(next);
  }
  function copy(button) {
    const field = button.previousElementSibling;
    const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
    field.select();
    if (document.execCommand("copy")) done();
    else if (navigator.clipboard) navigator.clipboard.writeText(field.value).then(done, () => undefined);
  }

  /* ------------------------------------------------------------------------------------------------------ start */

  list.querySelectorAll("img").forEach((drawn) => { pictures[drawn.closest(".card").dataset.example] = drawn.src; });
  addOptions("variant", [[all, "all variants"], ...data.variants.slice(1).map((name, place) => [place + 1, name])]);
  addOptions("class", [["", "all"], ...labels.map((label) => [label, className(label)])]);
  addOptions("attribute", [["", "all"], ...attributes.map((name) => [name, name])]);
  fields.attribute.parentElement.hidden = attributes.length === 0;
  [...fields.kind.options].forEach((option) => { option.dataset.name = option.textContent; });
  form.hidden = false;
  writeForm();

  form.addEventListener("input", () => { readForm(); refresh(); remember(fragment()); });
  form.addEventListener("reset", function (event) {
    event.preventDefault();
    state = { ...initial };
    writeForm();
    refresh();
    remember(fragment());
    fields.variant.focus();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => showMore().querySelector("a").focus());
  list.addEventListener("click", function (event) {
    const link = event.target.closest(".card a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(cards.find((card) => card.anchor === link.closest(".card").id));
  });
  dialog.addEventListener("close", () => location.hash.startsWith("#example-") && remember(fragment()));
  dialog.addEventListener("click", function (event) {
    if (event.target === dialog || event.target.closest(".close")) dialog.close();
    else if (event.target.closest(".previous")) step(-1);
    else if (event.target.closest(".next")) step(1);
    else if (event.target.closest(".copies button")) copy(event.target);
  });
  dialog.addEventListener("keydown", function (event) {
    if (event.target.tagName === "INPUT" || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  addEventListener("hashchange", follow);
  refresh();
  follow();
})();
