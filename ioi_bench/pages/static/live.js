// Only on a site that is served while it is worked on: load again when it was built anew.
(() => {
  const at = new URL(document.documentElement.dataset.root + "live.txt", location.href);
  let seen = null;
  setInterval(async () => {
    try {
      const now = await (await fetch(at, { cache: "no-store" })).text();
      if (seen !== null && now !== seen) location.reload();
      seen = now;
    } catch { /* the server was stopped: the page stays as it is */ }
  }, 1000);
})();
