"""@tinybirdco/flock.js (npm) in a real browser: a page of one origin sends events to a daemon of another."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.daemons import TOKEN, query
from tests.e2e.clients.installed import CHROMIUM, CLIENTS, NODE, run
from tests.http_client import Client

pytestmark = [NODE, CHROMIUM]

SCRIPT = CLIENTS / "node/node_modules/@tinybirdco/flock.js/dist/index.js"

# What it is for is a visitor's browser, so the browser does not say that a program drives it.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-blink-features=AutomationControlled",
]

# The page shows how each request of the script ended; 0 is a request that the browser stopped.
PAGE = """<!doctype html><title>Shop</title><pre id="ended"></pre>
<script>
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  this.addEventListener("loadend", () => {
    document.getElementById("ended").append(JSON.stringify({ status: this.status, answer: this.responseText }) + "\\n");
  });
  return send.call(this, body);
};
</script>
<script src="/flock.js" data-host="HOST" data-token="TOKEN" data-datasource="DATASOURCE" tb_shop="7"></script>
<script>
Tinybird.trackEvent("add_to_cart", { product: "ünï", email: "a@example.com", price: 12.5 });
</script>
"""


@pytest.fixture
def browse(tmp_path):
    """Serve a page with the script, have Chromium visit it, and return what the page showed then."""
    pages: dict[str, bytes] = {"/flock.js": SCRIPT.read_bytes()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages.get(self.path.partition("?")[0])
            self.send_response(404 if page is None else 200)
            self.send_header(
                "Content-Type", "text/javascript" if self.path == "/flock.js" else "text/html; charset=utf-8"
            )
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *arguments):
            """The test's output is not the place."""

    def visit(url: str, *, token: str = TOKEN, datasource: str = "analytics_events"):
        page = PAGE.replace("HOST", url).replace("TOKEN", token).replace("DATASOURCE", datasource)
        pages["/shop"] = page.encode()
        shop = f"http://localhost:{server.server_address[1]}/shop?from=a#b"
        command = ["chromium", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
        # Time passes for the page as fast as it can, but not while a request of it is under way.
        done = run([*command, "--virtual-time-budget=10000", "--dump-dom", shop], cwd=tmp_path)
        print(done.stdout)
        ended = done.stdout.partition('<pre id="ended">')[2].partition("</pre>")[0]
        return [json.loads(line) for line in ended.replace("&quot;", '"').splitlines()]

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield visit
        finally:
            server.shutdown()
            thread.join()


def test_a_visit_and_an_event_of_the_page(daemon, browse):
    """Two events, each after a preflight, and their answers may be read by the page."""
    ended = browse(daemon.url)

    assert [(one["status"], json.loads(one["answer"])["successful_rows"]) for one in ended] == [(202, 1)] * 2
    rows = query(daemon.data, "SELECT action, version, payload, timestamp FROM analytics_events ORDER BY action")
    payloads = [json.loads(row["payload"]) for row in rows]
    assert [(row["action"], row["version"]) for row in rows] == [("add_to_cart", "1"), ("page_hit", "1")]
    assert all(row["timestamp"] for row in rows)
    assert payloads[0] == {"product": "ünï", "email": "********", "price": 12.5, "shop": "7"}
    assert payloads[1]["pathname"] == "/shop"


def test_the_page_may_read_why_it_was_refused(daemon, browse):
    """Errors carry the CORS headers too; without them the page sees status 0 and no text."""
    ended = browse(daemon.url, token="wrong")

    assert [one["status"] for one in ended] == [403, 403]
    assert {json.loads(one["answer"])["error"] for one in ended} == {daemon.post(b"{}", token="wrong").json()["error"]}
    assert not list((daemon.data / "sources").iterdir())


def test_a_token_in_a_page_can_only_append_to_its_data_source(daemon, browse):
    """What a page carries everybody can read."""
    daemon.post(b'{"action":"x"}', "name=analytics_events&wait=true")
    with Client(daemon.address) as client:
        target = "/v0/tokens?name=tracker&scope=DATASOURCES:APPEND:analytics_events"
        token = client.request("POST", target, Authorization=f"Bearer {TOKEN}").json()["token"]

    assert [one["status"] for one in browse(daemon.url, token=token)] == [202, 202]
    assert [one["status"] for one in browse(daemon.url, token=token, datasource="other")] == [403, 403]
