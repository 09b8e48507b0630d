// Before anything is drawn: that scripts run, and which colours were chosen.
(() => {
  const page = document.documentElement;
  page.classList.add("js");
  try {
    const theme = localStorage.getItem("ioi-bench-theme");
    if (theme === "light" || theme === "dark") page.dataset.theme = theme;
  } catch { /* a page without storage follows the system */ }
  const waiting = new Map();
  window.ioiBench = {
    listed: [],
    suites(list) { this.listed = list; },
    suite(record) { waiting.get(record.slug)?.(record); },
    expect(slug, given) { waiting.set(slug, given); },
  };
})();
