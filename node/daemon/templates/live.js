// Keeps the page as new as the node: on each `changed` it reads its own address again and puts
// what stands there in place of what is shown. Without it, the page is read as it is.
//
// It says "Live" while the node tells of what is new and that can be read, and as of when the page
// is otherwise. What failed is tried again, later each time.
"use strict";
(() => {
  const AGAIN_MS = 1_000;
  const AGAIN_MS_MAX = 30_000;
  const READ_MS_MAX = 10_000;
  // A node that hangs tells of nothing. Its page says so, if it is asked for.
  const SILENT_MS = 30_000;
  const main = document.getElementById("main");
  const status = document.getElementById("live");
  const listening = trying(listen);
  const reading = trying(read);
  let newest = Number(main.dataset.asOf);
  let isOpen = false;
  let isReading = false;
  let isRead = true;
  let source = null;

  // Tries something again, after waits that double with each failure in a row.
  function trying(what) {
    let failures = 0;
    let timer = null;
    function again() {
      timer = null;
      what();
    }
    function failed() {
      clearTimeout(timer);
      timer = setTimeout(again, Math.min(AGAIN_MS * 2 ** failures, AGAIN_MS_MAX));
      failures += 1;
    }
    function succeeded() {
      clearTimeout(timer);
      timer = null;
      failures = 0;
    }
    return { failed, succeeded, isWaiting: () => timer !== null };
  }

  function asOf() {
    const time = main.querySelector(".top time");
    return time ? time.textContent : "an earlier time";
  }

  // Said only when it becomes something else, or a screen reader would speak every second.
  function sayHow() {
    const isKept = isSelecting() && newest > Number(main.dataset.asOf);
    const text = isOpen && isRead && !isKept ? "Live" : `Not live; this is as of ${asOf()}`;
    if (status.textContent !== text) status.textContent = text;
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
    if (!fresh) throw new Error("this is no page of the node");
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
    if (isSelecting()) sayHow();
    if (isReading || document.hidden || isSelecting()) return;
    isReading = true;
    const wanted = newest;
    try {
      const signal = AbortSignal.timeout(READ_MS_MAX);
      const answer = await fetch(location.href, { cache: "no-store", signal });
      // What the node does not know yet has a page as well.
      if (!answer.ok && answer.status !== 404) throw new Error(`refused: ${answer.status}`);
      const text = await answer.text();
      if (!isSelecting()) put(new DOMParser().parseFromString(text, "text/html"));
      isRead = true;
      reading.succeeded();
    } catch {
      isRead = false;
      reading.failed();
    } finally {
      isReading = false;
    }
    sayHow();
    // Nobody tells again of what came while this was read.
    if (newest > wanted) catchUp();
  }

  // A node that refuses is not asked each time that it tells of something.
  function catchUp() {
    if (newest > Number(main.dataset.asOf) && !reading.isWaiting()) read();
  }

  function listen() {
    close();
    source = new EventSource("/events");
    source.addEventListener("open", () => {
      isOpen = true;
      listening.succeeded();
      sayHow();
    });
    source.addEventListener("changed", (event) => {
      newest = Number(event.data);
      catchUp();
    });
    // Closed, since a browser by itself never tries again after a refusal, and always at the same
    // pace after anything else.
    source.addEventListener("error", () => {
      close();
      sayHow();
      listening.failed();
    });
  }

  function close() {
    source?.close();
    source = null;
    isOpen = false;
  }

  function stop() {
    listening.succeeded();
    close();
  }

  // A page that nobody looks at is not told: a browser has six connections to a node for all of
  // its windows, and the node a limit for all browsers.
  function follow() {
    if (document.hidden) stop();
    else listen();
  }

  document.addEventListener("visibilitychange", follow);
  document.addEventListener("selectionchange", catchUp);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => {
    if (event.persisted) follow();
  });
  setInterval(() => {
    if (!reading.isWaiting()) read();
  }, SILENT_MS);
  follow();
})();
