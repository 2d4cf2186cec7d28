// Keeps the page as new as the node: on each `changed` it reads its own address again and puts
// what stands there in place of what is shown. Without it, the page is read as it is.
"use strict";
(() => {
  const CONNECT_AGAIN_MS = 10_000;
  const main = document.getElementById("main");
  const status = document.getElementById("live");
  let newest = Number(main.dataset.asOf);
  let isReading = false;
  let source = null;

  // Said only when it becomes something else, or a screen reader would speak every second.
  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  function asOf() {
    const time = main.querySelector(".top time");
    return time ? time.textContent : "an earlier time";
  }

  function sayLost() {
    say(`Connection lost; this is as of ${asOf()}`);
  }

  // Who marks a digest to copy it should not lose the mark.
  function isSelecting() {
    const selection = document.getSelection();
    return selection.type === "Range" && main.contains(selection.anchorNode);
  }

  // How the focused element is found again in what comes.
  function focused() {
    const element = document.activeElement;
    if (!element || element === main || !main.contains(element)) return null;
    if (element.id) return `#${CSS.escape(element.id)}`;
    if (element.tagName === "SUMMARY") return `#${CSS.escape(element.parentElement.id)} > summary`;
    const address = element.getAttribute("href");
    return address ? `a[href="${CSS.escape(address)}"]` : null;
  }

  function put(page) {
    const fresh = page.getElementById("main");
    if (!fresh) return;
    const focus = focused();
    const scrolled = new Map();
    for (const region of main.querySelectorAll(".scroll[id]")) {
      scrolled.set(region.id, region.scrollLeft);
    }
    for (const details of main.querySelectorAll("details[open][id]")) {
      const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = true;
    }
    main.replaceChildren(...fresh.childNodes);
    main.dataset.asOf = fresh.dataset.asOf;
    document.title = page.title;
    for (const [id, left] of scrolled) {
      const region = document.getElementById(id);
      if (region) region.scrollLeft = left;
    }
    if (focus) main.querySelector(focus)?.focus({ preventScroll: true });
  }

  async function read() {
    if (isReading || document.hidden || isSelecting()) return;
    if (newest <= Number(main.dataset.asOf)) return;
    isReading = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.ok || answer.status === 404) {
        const text = await answer.text();
        if (!isSelecting()) put(new DOMParser().parseFromString(text, "text/html"));
      }
    } catch {
      sayLost();
    } finally {
      isReading = false;
    }
  }

  function listen() {
    source = new EventSource("/events");
    source.addEventListener("open", () => say("Live"));
    source.addEventListener("changed", (event) => {
      newest = Number(event.data);
      read();
    });
    source.addEventListener("error", () => {
      sayLost();
      // The browser tries again by itself, but not after it was refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, CONNECT_AGAIN_MS);
    });
  }

  document.addEventListener("visibilitychange", read);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => {
    if (event.persisted) listen();
  });
  listen();
})();
