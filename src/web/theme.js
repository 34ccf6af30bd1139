// Light or dark, before anything is drawn: as the system has it, unless somebody chose.
(() => {
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem('tidecast-theme');
    } catch {
      return null; // storage may be forbidden
    }
  };
  const chosen = stored();
  if (chosen === 'light' || chosen === 'dark') root.dataset.theme = chosen;
})();
