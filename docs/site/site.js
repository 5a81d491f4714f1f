// A <picture> follows the system's scheme. Here the reader can also choose a theme, and pictures follow that.
(() => {
    const root = document.documentElement;
    const sources = [...document.querySelectorAll("picture source[media*='prefers-color-scheme']")];
    const dark = sources.map((source) => source.media.includes("dark"));
    const follow = () => {
        const isDark = ["navy", "coal", "ayu"].some((theme) => root.classList.contains(theme));
        sources.forEach((source, index) => {
            source.media = dark[index] === isDark ? "all" : "not all";
        });
    };
    if (sources.length > 0) {
        follow();
        new MutationObserver(follow).observe(root, { attributes: true, attributeFilter: ["class"] });
    }
})();
