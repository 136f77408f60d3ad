"use strict";
// Theme, live parts, and reading curves with a pointer. Without this file the pages show the same, and reload.
(() => {
  const root = document.documentElement;
  const keep = (key, value) => { try { localStorage.setItem(key, value); } catch (e) { /* kept nowhere: fine */ } };
  const kept = (key) => { try { return localStorage.getItem(key); } catch (e) { return null; } };
  const theme = kept("huidu-theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;

  const themes = () => {
    const button = document.querySelector("[data-theme-toggle]");
    button.hidden = false;
    button.addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      keep("huidu-theme", root.dataset.theme);
    });
  };

  // What a person opened stays open, and what has the focus keeps it, when a live part is replaced.
  const replace = (live, html) => {
    const open = new Set([...live.querySelectorAll("details[open]")].map((each) => each.id));
    const spot = document.activeElement;
    const inside = live.contains(spot);
    const named = (each) => each.getAttribute("href") || (each.parentElement && each.parentElement.id);
    const alike = (name) => [...live.querySelectorAll("a, summary")].filter((each) => named(each) === name);
    const focused = inside && named(spot), place = inside ? alike(focused).indexOf(spot) : 0;
    live.innerHTML = html;
    for (const each of live.querySelectorAll("details")) if (open.has(each.id)) each.open = true;
    if (!inside) return;
    const again = alike(focused);
    const found = again[Math.min(Math.max(place, 0), again.length - 1)];
    if (found) found.focus({ preventScroll: true });
  };

  const follow = () => {
    const live = document.getElementById("live");
    if (!live) return;
    const link = document.getElementById("link"), said = document.getElementById("said");
    const title = document.title;
    let first = true;
    const source = new EventSource(live.dataset.stream);
    const state = (lost) => { link.textContent = lost ? link.dataset.lost : link.dataset.live; link.classList.toggle("lost", lost); };
    source.addEventListener("open", () => state(false));
    source.addEventListener("error", () => state(true));
    source.addEventListener("gone", () => { source.close(); state(true); });
    source.addEventListener("live", (event) => {
      const news = JSON.parse(event.data);
      // While somebody marks text or reads a curve, the page holds still.
      if (String(getSelection()) || document.querySelector(".hair:not([hidden])")) return;
      replace(live, news.html);
      live.dataset.followed = "";
      // A tab among many tells how many rollouts need a person, or what became of this one.
      const needs = live.querySelectorAll(".needs li").length, chip = live.querySelector("h1 .chip");
      document.title = (needs ? `(${needs}) ` : "") + (chip ? `${chip.textContent} · ` : "") + title;
      if (!first && said.textContent !== news.said) said.textContent = news.said;
      first = false;
    });
    addEventListener("pagehide", () => source.close());
  };

  const curves = () => {
    const tip = document.querySelector(".tip");
    const away = () => { tip.hidden = true; for (const hair of document.querySelectorAll(".hair")) hair.hidden = true; };
    document.addEventListener("pointermove", (event) => {
      const plot = event.target instanceof Element && event.target.closest(".plot[data-hover]");
      if (!plot) { away(); return; }
      const points = JSON.parse(plot.dataset.hover);
      if (!points.length) return;
      const hair = plot.querySelector(".hair") || plot.appendChild(Object.assign(document.createElement("span"), { className: "hair" }));
      const box = plot.getBoundingClientRect();
      const at = (100 * (event.clientX - box.left)) / box.width;
      const near = points.reduce((best, each) => (Math.abs(each[0] - at) < Math.abs(best[0] - at) ? each : best));
      away();
      hair.style.left = near[0] + "%";
      tip.textContent = near[1];
      tip.hidden = hair.hidden = false;
      const half = tip.offsetWidth / 2 + 8;
      const x = box.left + (near[0] / 100) * box.width;
      tip.style.left = Math.min(Math.max(x, half), innerWidth - half) + "px";
      tip.style.top = Math.max(box.top - tip.offsetHeight - 6, 4) + "px";
    });
    document.addEventListener("pointerleave", away);
    document.addEventListener("pointerup", (event) => { if (event.pointerType !== "mouse") away(); });
  };

  document.addEventListener("DOMContentLoaded", () => { themes(); follow(); curves(); });
})();
