"use strict";
(() => {
  const root = document.documentElement;
  const keep = (key, value) => { try { localStorage.setItem(key, value); } catch (e) { /* a page from a file may keep nothing */ } };
  const kept = (key) => { try { return localStorage.getItem(key); } catch (e) { return null; } };

  const language = (lang) => {
    root.dataset.lang = lang;
    root.lang = lang === "zh" ? "zh-Hans" : "en";
    for (const button of document.querySelectorAll("[data-set-lang]"))
      button.setAttribute("aria-pressed", String(button.dataset.setLang === lang));
  };
  for (const button of document.querySelectorAll("[data-set-lang]"))
    button.addEventListener("click", () => { language(button.dataset.setLang); keep("huidu-lang", button.dataset.setLang); });
  // #zh as on the load report; else what was chosen before, else what the browser is set to.
  const linked = location.hash === "#zh" ? "zh" : new URLSearchParams(location.search).get("lang");
  const asked = linked || kept("huidu-lang") || navigator.language;
  language(/^zh\b/i.test(asked) ? "zh" : "en");

  const theme = new URLSearchParams(location.search).get("theme") || kept("huidu-theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  document.querySelector("[data-theme-toggle]").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    keep("huidu-theme", root.dataset.theme);
  });

  const tip = document.querySelector(".tip");
  for (const plot of document.querySelectorAll(".plot[data-hover]")) {
    const points = JSON.parse(plot.dataset.hover);
    if (!points.length) continue;
    const hair = plot.appendChild(Object.assign(document.createElement("span"), { className: "hair", hidden: true }));
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const at = (100 * (event.clientX - box.left)) / box.width;
      const near = points.reduce((best, each) => (Math.abs(each[0] - at) < Math.abs(best[0] - at) ? each : best));
      hair.style.left = near[0] + "%";
      tip.textContent = near[1];
      tip.hidden = hair.hidden = false;
      const half = tip.offsetWidth / 2 + 8;
      const x = box.left + (near[0] / 100) * box.width;
      tip.style.left = Math.min(Math.max(x, half), innerWidth - half) + "px";
      tip.style.top = Math.max(box.top - tip.offsetHeight - 6, 4) + "px";
    });
    plot.addEventListener("pointerleave", () => { tip.hidden = hair.hidden = true; });
  }
})();
