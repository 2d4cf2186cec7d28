// What the tests of the web page ask inside of it: the first argument names a function of
// `questions`, the others are its own. The text is the body of a function, as WebDriver wants it.
"use strict";

// Text of at least so many pixels, or of so many and bold, is large: WCAG 2, "large scale".
const LARGE_PX = 24;
const LARGE_BOLD_PX = 18.66;
const CONTRAST_MIN = 4.5;
const CONTRAST_LARGE_MIN = 3;
// Text that is drawn smaller is there for nobody.
const TEXT_PX_MIN = 9;
// What is touched, WCAG 2.5.8.
const TARGET_PX_MIN = 24;

function all(selector) {
  return [...document.querySelectorAll(selector)];
}

function textOf(element) {
  return element.textContent.trim().replace(/\s+/g, " ");
}

// How a fault names an element.
function named(element) {
  const id = element.id ? `#${element.id}` : "";
  const name = element.getAttribute("class");
  const text = textOf(element).slice(0, 40);
  return `<${element.tagName.toLowerCase()}${id}${name ? `.${name}` : ""}> "${text}"`;
}

// `rgb(1, 2, 3)` or `rgba(1, 2, 3, 0.5)`, as computed styles have it.
function colour(text) {
  const inner = /^rgba?\((.*)\)$/.exec(text);
  if (!inner) throw new Error(`no colour that this script knows: ${text}`);
  const [red, green, blue, alpha = 1] = inner[1].split(/[\s,/]+/).map(Number);
  return { rgb: [red, green, blue], alpha };
}

// What is seen of a colour over an opaque one.
function over(upper, lower) {
  return upper.rgb.map((part, at) => part * upper.alpha + lower[at] * (1 - upper.alpha));
}

// Relative luminance, as WCAG 2 has it.
function luminance(rgb) {
  const [red, green, blue] = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function withAncestors(element) {
  const found = [];
  for (let at = element; at; at = at.parentElement) found.push(at);
  return found;
}

// The colour behind an element; null if nothing opaque is there. Drawings put no text on shapes.
function ground(element) {
  const layers = withAncestors(element).map((at) => colour(getComputedStyle(at).backgroundColor));
  const opaque = layers.findIndex((layer) => layer.alpha === 1);
  if (opaque < 0) return null;
  const upper = layers.slice(0, opaque).reverse();
  return upper.reduce((lower, layer) => over(layer, lower), layers[opaque].rgb);
}

// Pixels of a text as it is drawn: a drawing is scaled as a whole.
function drawnPx(element) {
  const px = parseFloat(getComputedStyle(element).fontSize);
  const scale = element.ownerSVGElement ? element.getScreenCTM().d : 1;
  return px * scale;
}

// Elements with text of their own that is seen.
function textElements() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const isSeen = element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    if (isSeen && walker.currentNode.data.trim()) found.add(element);
  }
  return [...found];
}

function textFault(element) {
  const style = getComputedStyle(element);
  const px = drawnPx(element);
  if (px < TEXT_PX_MIN) return `${named(element)} is drawn with ${px.toFixed(1)} px`;
  const behind = ground(element);
  if (!behind) return `${named(element)} stands on nothing`;
  const own = colour(element.ownerSVGElement ? style.fill : style.color);
  const faded = withAncestors(element).map((at) => Number(getComputedStyle(at).opacity));
  own.alpha = faded.reduce((product, one) => product * one, own.alpha);
  const isLarge = px >= LARGE_PX || (px >= LARGE_BOLD_PX && Number(style.fontWeight) >= 700);
  const least = isLarge ? CONTRAST_LARGE_MIN : CONTRAST_MIN;
  const ratio = contrast(over(own, behind), behind);
  if (ratio >= least) return null;
  return `${named(element)} has a contrast of ${ratio.toFixed(2)}, not ${least}`;
}

function structureFaults() {
  const faults = [];
  const once = (selector) => {
    const count = all(selector).length;
    if (count !== 1) faults.push(`${count} of ${selector}`);
  };
  ["html[lang]", "head > title", "h1", "main", "a.skip"].forEach(once);
  if (!document.title.trim()) faults.push("no title");
  let last = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const level = Number(heading.tagName[1]);
    if (level > last + 1) faults.push(`${named(heading)} after a heading of level ${last}`);
    last = level;
  }
  const ids = all("[id]").map((element) => element.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  return faults.concat(twice.map((id) => `the id ${id} is there twice`));
}

function widthFaults(width) {
  const root = document.documentElement;
  const faults = [];
  if (root.clientWidth !== width) faults.push(`${root.clientWidth} px wide, not ${width}`);
  if (root.scrollWidth <= root.clientWidth) return faults;
  const isOut = (element) => element.getBoundingClientRect().right > root.clientWidth + 0.5;
  const isHeld = (element) => withAncestors(element).some((at) => at.matches(".scroll"));
  const out = all("body *").filter((element) => isOut(element) && !isHeld(element));
  const wide = `the page scrolls sideways: ${root.scrollWidth} px in ${root.clientWidth}`;
  return faults.concat(`${wide}, for ${out.slice(0, 3).map(named).join(", ")}`);
}

// What scrolls sideways takes the focus, or the keyboard cannot scroll it.
function scrollFaults() {
  const isScrolled = (element) => {
    const scrolls = ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
    return scrolls && element.scrollWidth > element.clientWidth;
  };
  const isFocused = (element) => element.getAttribute("tabindex") === "0";
  const stuck = all("body *").filter((element) => isScrolled(element) && !isFocused(element));
  return stuck.map((element) => `${named(element)} scrolls and takes no focus`);
}

function targetFaults() {
  const isSmall = (element) => element.getBoundingClientRect().height < TARGET_PX_MIN;
  const small = all("nav a, summary").filter(isSmall);
  return small.map((element) => `${named(element)} is less than ${TARGET_PX_MIN} px high`);
}

// Of the submission in the first row of the list of submissions: its id, its stage, how far it is
// in the funnel, and what it waits for.
function stateShown() {
  const row = document.querySelector("#main tbody tr");
  const cells = row ? [0, 1, 2, 8].map((at) => row.children[at]) : [];
  return cells.map(textOf).join("|");
}

// Of the funnel's chart: each stage with how many came to it and what became of them; and how many
// runs there are.
function funnelShown() {
  const stages = [];
  for (const text of all("svg.flow text")) {
    if (text.classList.contains("head")) stages.push([]);
    stages.at(-1).push(textOf(text));
  }
  const runs = all("#scroll-runs tbody tr").length;
  return `${stages.map((stage) => stage.join(", ")).join(" > ")}; ${runs} runs`;
}

// Of a submission's own page: its stage, where it is in the funnel, what it waits for, how many of
// its runs are here, and how many of its units beyond the first tier are decided.
function submissionShown() {
  const badge = document.querySelector("#stands .badge");
  const fact = (name) => {
    const found = all("dt").find((term) => textOf(term) === name);
    return found ? textOf(found.nextElementSibling) : "";
  };
  const runs = `${all("section[aria-labelledby=runs] li").length} runs`;
  const units = `${all("#scroll-units tbody tr").length} units`;
  const stage = badge ? textOf(badge) : "";
  return [stage, fact("In the funnel"), fact("Waits for"), runs, units].join("|");
}

const shownOn = { list: stateShown, funnel: funnelShown, submission: submissionShown };

const questions = {
  // What is wrong with the page in a window of `width` pixels, a sentence each.
  faults(width) {
    for (const details of all("details")) details.open = true;
    const texts = textElements().map(textFault).filter((fault) => fault);
    return [structureFaults(), widthFaults(width), scrollFaults(), targetFaults(), texts].flat();
  },

  // What a page says, as far as it stays the same from one moment to the next.
  reading() {
    const texts = (selector) => all(selector).map(textOf);
    const [entry] = performance.getEntriesByType("navigation");
    return {
      status: entry.responseStatus,
      path: location.pathname,
      headings: texts("h1, h2"),
      captions: texts("caption"),
      notices: texts("noscript p"),
    };
  },

  // How many elements of the page have text that was looked at.
  texts() {
    return textElements().length;
  },

  links(selector) {
    return all(selector).map((element) => element.getAttribute("href"));
  },

  focus() {
    const element = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const { left, top, right, bottom } = element.getBoundingClientRect();
    const isInside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
    const isOutlined = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
    return {
      href: element.getAttribute("href"),
      id: element.id,
      isOpen: element.localName === "summary" ? element.parentElement.open : null,
      isSeen: isInside && isOutlined,
    };
  },

  live() {
    return document.getElementById("live").textContent;
  },

  asOf() {
    return Number(document.getElementById("main").dataset.asOf);
  },

  // Writes down from now on what is shown and when, in milliseconds since 1970. A page that is
  // loaded anew has forgotten it.
  watch(what) {
    const shown = shownOn[what];
    const seen = [{ at: Date.now(), state: shown() }];
    const look = () => {
      const state = shown();
      if (state !== seen.at(-1).state) seen.push({ at: Date.now(), state });
    };
    new MutationObserver(look).observe(document.getElementById("main"), { childList: true });
    window.assaySeen = seen;
  },

  seen() {
    return window.assaySeen ?? null;
  },

  // Has the page's own requests answered as if by a node that refuses, or again by the node.
  refuse(status) {
    window.assayFetch ??= window.fetch;
    const refusal = () => Promise.resolve(new Response("", { status }));
    window.fetch = status ? refusal : window.assayFetch;
  },
};

const [question, ...rest] = arguments;
return questions[question](...rest) ?? null;
