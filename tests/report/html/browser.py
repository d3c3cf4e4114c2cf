"""Runs a page in a headless browser, for tests of what its script does."""

import html
import json
import os
import shutil
import subprocess

import pytest

from solo_adv.support.hashes import sha256_for_browsers

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture
def in_browser(tmp_path):
    """A function that runs JavaScript in a page and returns what the code returns.

    The page's policy is told to let this code run, too. The test is skipped where there is no
    Chromium.
    """
    program = os.environ.get("SOLO_ADV_BROWSER") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    if program is None:
        pytest.skip(
            "no Chromium to run the page in: apt-get install chromium, or SOLO_ADV_BROWSER=PATH"
        )

    def run(page, code):
        file = tmp_path / "tested.html"
        answer = f"document.title = JSON.stringify((() => {{ {code} }})());"
        allowed = f"script-src 'sha256-{sha256_for_browsers(answer)}' "
        page = page.replace("script-src ", allowed)
        file.write_text(page.replace("</body>", f"<script>{answer}</script></body>"))
        flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/user")
        done = subprocess.run(
            [program, *flags, "--dump-dom", file.as_uri()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        title = done.stdout.partition("<title>")[2].partition("</title>")[0]
        return json.loads(html.unescape(title))

    return run
