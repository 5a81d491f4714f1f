#!/usr/bin/env python3
"""look-at-site.py SITE SCREENSHOTS: every page of the site in Chromium, in a wide window and in a narrow one.

Fails if a page is wider than its window, if an image or a script does not load, or if the search finds nothing. CHROMIUM=/path picks a binary.
"""

import functools
import http.server
import os
import pathlib
import shutil
import sys
import threading

from playwright.sync_api import Error, sync_playwright

WIDE, NARROW, HEIGHT = 1280, 390, 900
# Of each of these there is a picture to look at.
MAIN = ["index.html", "docs/getting-started.html", "docs/delivery.html", "docs/operations.html", "docs/reference.html"]
PICTURE_HEIGHT = 3000
SEARCHED, FOUND = "dead letter", "docs/dead-letters.html"

# The content scrolls sideways in its own box, and so does not widen the document: it is looked at on its own. What lies in a box that scrolls,
# such as a table or a block of code, may be wider.
LOOK = """() => {
  const problems = [];
  const scrolls = (element) => element && element.id !== 'mdbook-content' &&
    (/auto|scroll|hidden/.test(getComputedStyle(element).overflowX) && element !== document.body || scrolls(element.parentElement));
  const boxes = [document.documentElement, ...document.querySelectorAll('#mdbook-content, main')];
  if (document.documentElement.scrollWidth > innerWidth || boxes.some((box) => box.scrollWidth > box.clientWidth)) {
    const [main] = document.querySelectorAll('main, body');
    const right = Math.min(main.getBoundingClientRect().right, innerWidth);
    const wide = [...main.querySelectorAll('*')].filter((element) => element.getBoundingClientRect().right > right + 1 && !scrolls(element.parentElement));
    const name = (element) => `<${element.localName}> "${element.textContent.trim().slice(0, 40)}"`;
    problems.push(`wider than its window: ${wide.slice(0, 3).map(name).join(', ') || 'nothing in the text'}`);
  }
  for (const image of document.images) {
    if (!image.complete || image.naturalWidth === 0) problems.push(`an image is not there: ${image.currentSrc || image.src}`);
  }
  return problems;
}"""


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


class Look:
    def __init__(self, browser, site, screenshots):
        self.browser = browser
        self.address = serve(site)
        self.screenshots = pathlib.Path(screenshots)
        self.pages = sorted(str(path.relative_to(site)) for path in pathlib.Path(site).rglob("*.html") if path.name != "toc.html")
        self.problems = []

    def look(self, width, scheme, pages):
        """Each of these pages in a window of this width."""
        context = self.browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
        tab = context.new_page()
        where = ""
        tab.on("pageerror", lambda error: self.problems.append(f"{where}: a script failed: {error}"))
        tab.on("response", lambda response: response.status < 400 or self.problems.append(f"{where}: {response.status} for {response.url}"))
        for page in pages:
            where = f"{page} at {width} px, {scheme}"
            tab.goto(f"{self.address}/{page}", wait_until="load")
            self.problems += [f"{where}: {problem}" for problem in tab.evaluate(LOOK)]
            if page in MAIN:
                height = min(PICTURE_HEIGHT, tab.evaluate("document.documentElement.scrollHeight"))
                name = "front" if page == "index.html" else pathlib.Path(page).stem
                clip = {"x": 0, "y": 0, "width": width, "height": height}
                tab.screenshot(path=self.screenshots / f"{name}-{width}-{scheme}.png", full_page=True, clip=clip)
        context.close()

    def search(self):
        tab = self.browser.new_page(viewport={"width": WIDE, "height": HEIGHT})
        tab.goto(f"{self.address}/index.html", wait_until="load")
        try:
            tab.click("#mdbook-search-toggle")
            tab.locator("#mdbook-searchbar").press_sequentially(SEARCHED)
            tab.locator(f"#mdbook-searchresults a[href*='{FOUND}']").first.wait_for(timeout=10_000)
        except Error as error:
            self.problems.append(f'the search for "{SEARCHED}" does not find {FOUND}: {str(error).splitlines()[0]}')
        tab.screenshot(path=self.screenshots / "search.png")
        tab.close()


def main(site, screenshots):
    if not (pathlib.Path(site) / "index.html").is_file():
        sys.exit(f"error: {site} does not contain index.html")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        sys.exit("error: chromium is missing; install it (Debian: apt-get install chromium)")
    shutil.rmtree(screenshots, ignore_errors=True)
    pathlib.Path(screenshots).mkdir(parents=True)
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium runs only without its sandbox. All it reads is the site.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        look = Look(browser, site, screenshots)
        for width in (WIDE, NARROW):
            look.look(width, "light", look.pages)
            look.look(width, "dark", ["index.html"])
        look.search()
        browser.close()
    for problem in look.problems:
        print(f"error: {problem}", file=sys.stderr)
    if look.problems:
        sys.exit(1)
    print(f"{len(look.pages)} pages fit windows of {WIDE} and {NARROW} px; pictures: {screenshots}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
