#!/usr/bin/env python3
"""The labelling page in a real browser: Debian's Chromium, headless, driven over its debugging protocol.

    apt-get install chromium && pip install websockets
    python experiments/label/browser_study.py FOLDER      (LEASH: the binary; FOLDER gets screenshots)

Starts `leash label` on three pairs, judges them by keys and mouse as a person would, and checks: text is never markup and keeps its white
space; roles, names and live regions in the accessibility tree; the keyboard alone is enough; the policy blocks inline code; phone
width needs no sideways scrolling; contrast of text in light and dark.
Prints a line per check and exits with 1 when one fails.
"""
import asyncio
import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEASH = os.environ.get("LEASH", str(ROOT / "build/release/leash"))
PAIRS = [
    {"prompt": [{"role": "system", "content": "Be helpful."}, {"role": "user", "content": "How can I tell whether an egg is fresh?"}],
     "answers": [[{"role": "assistant", "content": "Put it in a bowl of water:\n\n  1. Fresh eggs lie flat.\n  2. Old ones float.\n\nIf it "
                                                   "stands upright, use it today."}],
                 [{"role": "assistant", "content": "<b>Water</b> test. <script>document.title='hacked'</script><img src=x "
                                                   "onerror=\"document.title='hacked'\">"}]]},
    {"prompt": "Write a haiku about rain.", "answers": ["Soft rain on the roof\n\tdrums a slow and silver song\nthe cat stays asleep",
                                                        "rain rain " * 60]},
    {"prompt": "كيف حالك؟", "answers": ["أنا بخير، شكرا لك!", "W" * 400]},
]
failed = 0


def check(fine, what):
    global failed
    failed += 0 if fine else 1
    print("ok    " if fine else "FAILED", what, flush=True)


class Browser:
    """One tab."""

    def __init__(self, socket):
        self.socket, self.number, self.events = socket, 0, []

    async def call(self, method, **parameters):
        self.number += 1
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    async def run(self, expression):
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    async def until(self, expression, seconds=20):
        for _ in range(int(seconds / 0.05)):
            if await self.run(expression):
                return True
            await asyncio.sleep(0.05)
        return False

    async def key(self, key, text=None, modifiers=0):
        code = {"ArrowLeft": 37, "ArrowRight": 39, "Tab": 9, "Enter": 13, "Escape": 27}.get(key, ord(key.upper()[0]))
        more = {"text": text if text is not None else ("\r" if key == "Enter" else key)} if len(key) == 1 or key == "Enter" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, modifiers=modifiers, **more)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code, modifiers=modifiers)

    async def click(self, selector):
        box = await self.run(f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
                             "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def picture(self, file):
        shot = await self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    async def tree(self):
        """Nodes of the accessibility tree that are not ignored: role, name, properties."""
        nodes = (await self.call("Accessibility.getFullAXTree"))["nodes"]
        return [{"role": node["role"]["value"], "name": node.get("name", {}).get("value", ""),
                 **{entry["name"]: entry["value"].get("value") for entry in node.get("properties", [])}}
                for node in nodes if not node["ignored"]]


# Of every element with a text of its own: what it says, and its contrast with what lies behind it (WCAG 2.2).
CONTRASTS = """(() => {
  const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const found = [];
  for (const e of document.body.querySelectorAll("*")) {
    const own = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join("");
    if (!own || !e.checkVisibility() || e.closest("script, style, noscript") || e.disabled) continue;
    let back = e, colour;
    do { colour = parse(getComputedStyle(back).backgroundColor); back = back.parentElement; } while (back && colour[3] === 0);
    const a = light(parse(getComputedStyle(e).color)), b = light(colour);
    found.push([own.slice(0, 30), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
})()"""


async def scheme(tab, name):
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])


async def size(tab, width, height):
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)


async def check_looks(tab, folder, name):
    for colours in ("light", "dark"):
        await scheme(tab, colours)
        for width, height in ((1280, 800), (390, 844), (320, 568)):
            await size(tab, width, height)
            wide = await tab.run("document.documentElement.scrollWidth - innerWidth")
            check(wide <= 0, f"{name}: {width} pixels wide, {colours}: nothing to scroll sideways")
            await tab.picture(folder / f"{name}-{colours}-{width}.png")
        low = [entry for entry in await tab.run(CONTRASTS) if entry[1] < 4.5]
        check(not low, f"{name}: contrast of text, {colours}: at least 4.5 : 1 {low or ''}")
        targets = await tab.run("[...document.querySelectorAll('button')].filter((b) => b.checkVisibility()).every((b) => {"
                                "const r = b.getBoundingClientRect(); return r.width >= 24 && r.height >= 24; })")
        check(targets, f"{name}: buttons are at least 24 pixels wide and high, {colours}")
    await size(tab, 1280, 800)
    await scheme(tab, "light")


async def check_tree(tab):
    await tab.run("document.querySelector('#keys-help').open = true")
    tree = await tab.tree()
    await tab.run("document.querySelector('#keys-help').open = false")
    has = lambda role, name, **more: any(
        node["role"] == role and re.fullmatch(name, node["name"]) and all(node.get(k) == v for k, v in more.items()) for node in tree)
    check(has("RootWebArea", "leash label"), "tree: the page has a title")
    for role in ("banner", "main"):
        check(any(node["role"] == role for node in tree), f"tree: landmark {role}")
    check(has("heading", "leash label", level=1), "tree: heading of the first level")
    for name in ("Prompt of pair 1 of 3", "Left answer", "Right answer"):
        check(has("heading", name, level=2), f"tree: heading `{name}`")
    for name in ("Left answer", "Right answer"):
        check(has("article", name), f"tree: the {name.lower()} is an article of that name")
    check(has("region", "Prompt of pair 1 of 3"), "tree: the prompt is a region")
    check(has("group", "Your judgement"), "tree: the choices are a named group")
    for name in ("Left is better", "Right is better", "Tie", "Both bad", "Skip", "Undo"):
        check(has("button", name), f"tree: button `{name}`")
    check(has("button", "Undo", disabled=True), "tree: undo is disabled before there is something to take back")
    check(has("textbox", r"Comment \(optional\)", multiline=True), "tree: the comment has a name")
    check(has("checkbox", "Single keys judge"), "tree: single keys can be turned off")
    progress = [node for node in tree if node["role"] in ("progressIndicator", "ProgressIndicator", "progressbar")]
    check(len(progress) == 1 and progress[0]["name"] == "Progress", "tree: a named progress indicator")
    status = [node for node in tree if node["role"] == "status"]
    check(len(status) == 1 and status[0].get("live") == "polite", "tree: a polite live region")
    nameless = [node for node in tree if node["role"] in ("button", "textbox", "checkbox", "article", "region", "group") and not node["name"]]
    check(not nameless, f"tree: nothing without a name {nameless or ''}")


async def journey(tab, folder, labels):
    rows = lambda: [json.loads(line) for line in (labels / "preferences.jsonl").read_text().splitlines()]
    check(await tab.until("typeof view !== 'undefined' && view && view.pair"), "the first pair is there")
    await check_tree(tab)
    await check_looks(tab, folder, "pair")
    first = await tab.run("view.pair")
    shown = await tab.run("[document.querySelector('#left').textContent, document.querySelector('#right').textContent]")
    check(shown == [first["left"], first["right"]], "answers are shown as they are, markup and white space included")
    check(await tab.run("document.querySelectorAll('#task b, #task script, #task img').length") == 0, "no element came from a model's text")
    check(await tab.run("getComputedStyle(document.querySelector('#left')).whiteSpace") in ("pre-wrap", "break-spaces"), "white space is kept")
    check(await tab.run("document.title") == "leash label", "no script of a model ran")
    blocked = await tab.run("""(() => { const made = document.createElement('div');
      try { made.innerHTML = '<b>x</b>'; return 'written'; } catch (error) { return error.name; } })()""")
    check(blocked == "TypeError", f"the policy refuses markup from scripts ({blocked})")
    inline = await tab.run("""new Promise((done) => { document.addEventListener('securitypolicyviolation', () => done('blocked'), {once: true});
      const made = document.createElement('img'); made.src = 'http://127.0.0.1:9/x.png'; document.body.append(made);
      setTimeout(() => done('loaded'), 3000); made.remove(); })""")
    check(inline == "blocked", "the policy refuses what other addresses have")

    # The keyboard alone: a comment, then the left one.
    await tab.key("c")
    check(await tab.run("document.activeElement.id") == "comment", "C goes to the comment")
    for letter in "tub 1":
        await tab.key(letter)
    check(await tab.run("document.querySelector('#comment').value") == "tub 1", "keys in the comment write")
    await tab.key("Escape")
    check(await tab.run("document.activeElement.id") == "title", "Esc leaves it")
    check(not rows(), "nothing is said yet")
    await tab.key("ArrowLeft")
    check(await tab.until(f"view.pair && view.pair.id !== {first['id']!r}"), "the next pair comes")
    said = rows()
    text = said[0]["chosen"][0]["content"] if said and isinstance(said[0]["chosen"], list) else said[0]["chosen"] if said else None
    check(text == first["left"] and said[0]["judgement"]["comment"] == "tub 1", "the judgement and its comment are on disk")
    check(await tab.run("document.activeElement.id") == "title", "focus is on the new pair's heading")
    status = await tab.run("document.querySelector('#status').textContent")
    check(status == "Saved: left is better. Pair 2 of 3.", f"the status says so ({status})")
    check(await tab.run("document.querySelector('#comment').value") == "", "the comment starts empty")
    await check_looks(tab, folder, "second")

    # By Tab to a button.
    for _ in range(30):
        await tab.key("Tab")
        if await tab.run("document.activeElement.dataset.verdict") == "tie":
            break
    ring = await tab.run("getComputedStyle(document.activeElement).outlineStyle")
    check(ring not in ("none", ""), "a button with focus has a ring")
    await tab.key("Enter")
    check(await tab.until("view.progress.judged === 2"), "Tab and Enter judge")
    check(rows()[-1].get("tie") is True, "a tie is a tie")
    await tab.key("u")
    check(await tab.until("view.progress.judged === 1"), "U takes it back")
    check(len(rows()) == 1, "its row is gone")
    await tab.click("#choices [data-verdict=both_bad]")
    check(await tab.until("view.progress.judged === 2"), "the mouse judges")
    check(rows()[-1].get("both_bad") is True, "both bad is both bad")
    await check_looks(tab, folder, "third")
    await tab.run("document.querySelector('#keys-help').open = true")
    await tab.click("#keys")
    await tab.key("ArrowRight")
    await asyncio.sleep(0.5)
    check(await tab.run("view.progress.judged") == 2, "without single keys no key judges")
    await tab.click("#keys")
    await tab.run("document.activeElement.blur()")
    await tab.key("s")
    check(await tab.until("view.offer === 'done'"), "skipping the last pair ends it")
    check(await tab.run("document.activeElement.id") == "end-title", "focus is on what says so")
    await tab.run("document.querySelector('#keys-help').open = false; document.querySelector('#standing').open = true")
    check(await tab.until("document.querySelector('#statistics table') !== null"), "how it stands is shown")
    await check_looks(tab, folder, "end")
    tree = await tab.tree()
    check(any(node["role"] == "table" for node in tree), "tree: a table with how it stands")
    await tab.click("#finish")


async def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="leash-browser-"))
    (scratch / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    server = subprocess.Popen([LEASH, "label", "--pairs", str(scratch / "pairs.jsonl"), "--out", str(scratch / "labels"), "--user", "anna"],
                              stdout=subprocess.PIPE, text=True)
    chromium = None
    try:
        address = server.stdout.readline().split(": ", 1)[1].strip()
        chromium = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0",
             "--no-first-run", "--force-renderer-accessibility", f"--user-data-dir={scratch / 'profile'}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in chromium.stderr:
            if found := re.search(r"DevTools listening on ws://([^/]+)/", line):
                break
        tabs = json.load(urllib.request.urlopen(f"http://{found[1]}/json/list"))
        page = next(tab for tab in tabs if tab["type"] == "page")
        async with websockets.connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            tab = Browser(socket)
            for domain in ("Page", "Runtime", "Accessibility", "Log"):
                await tab.call(domain + ".enable")
            await size(tab, 1280, 800)
            await tab.call("Page.navigate", url=address)
            await journey(tab, folder, scratch / "labels")
            errors = [event for event in tab.events if event["method"] == "Runtime.exceptionThrown"]
            check(not errors, f"no script error {errors or ''}")
        check(server.wait(timeout=20) == 0, "Finish ends the server")
    finally:
        for process in (chromium, server):
            if process and process.poll() is None:
                process.terminate()
                process.wait()
        shutil.rmtree(scratch, ignore_errors=True)
    print("all checks passed" if failed == 0 else f"{failed} checks failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(pathlib.Path(sys.argv[1]))))
