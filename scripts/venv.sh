# Sourced by ./demo and ./test from the checkout: makes .venv hold the package with EXTRAS.
# A stamp with a hash of what was asked for lets a second run start at once.
# Needs nothing but Python 3.10 or newer and a package index.

ensure_venv() {
    extras=$1
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "Python 3.10 or newer is needed, '$python' is $("$python" --version 2>&1);" \
            "set PYTHON to a newer one." >&2
        exit 2
    fi
    wanted="$extras $(cat pyproject.toml constraints.txt | cksum) $("$python" --version) $PWD"
    stamp=.venv/installed-$(echo "$extras" | tr ',' '-')
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    echo "Installing into .venv (once)" >&2
    # One that was left half-made, or made by another Python, is made anew.
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1 ||
        [ "$(.venv/bin/python --version)" != "$("$python" --version)" ]; then
        rm -rf .venv
        "$python" -m venv .venv || {
            rm -rf .venv
            exit 1
        }
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --editable ".[$extras]" || exit 1
    echo "$wanted" >"$stamp"
}
