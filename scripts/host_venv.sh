# Sourced by ./test from the checkout: makes .venv-host hold what a ComfyUI tree needs on a CPU, with
# what the pack adds to it, and nothing that only the command line needs (librosa, accelerate).
# A stamp with a hash of what was asked for lets a second run start at once.

host_requirements() { # tree
    grep -vE '^(torch|torchvision|torchaudio|torchsde)([^a-z]|$)' "$1/requirements.txt"
}

pack_requirements() { # the plain dependencies in pyproject.toml
    sed -n '/^dependencies = \[/,/^\]/s/^ *"\(.*\)",$/\1/p' pyproject.toml
}

stand_ins() { # torchvision and torchaudio, where no build fits this torch
    local python=.venv-host/bin/python name site
    site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || return 1
    for name in torchvision torchaudio; do
        if ! "$python" -c "import $name" 2>/dev/null; then
            "${pip[@]}" uninstall --yes "$name" 2>/dev/null
            ln -sfn "$PWD/tests/host/stubs/absent.py" "$PWD/tests/host/stubs/$name" "$site/"
        fi
    done
}

browser_driver() { # the frontend tests run where there is a browser
    if command -v chromium >/dev/null; then echo playwright; fi
}

ensure_host_venv() { # tree
    local tree=$1 python=${PYTHON:-python3} wanted stamp=.venv-host/installed before list
    wanted="$(cat scripts/host_venv.sh constraints.txt "$tree/requirements.txt" | cksum)"
    wanted="$wanted $(pack_requirements | cksum) $(browser_driver) $("$python" --version) $PWD"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return 0
    fi
    echo "Installing into .venv-host (once)" >&2
    if ! .venv-host/bin/python -m pip --version >/dev/null 2>&1; then
        rm -rf .venv-host
        "$python" -m venv .venv-host || return 1
    fi
    local pip=(.venv-host/bin/python -m pip --quiet --disable-pip-version-check)
    local install=("${pip[@]}" install --constraint constraints.txt)
    list=$(mktemp) before=$(mktemp)
    host_requirements "$tree" >"$list"
    # torch first and by itself, so that no other requirement decides which build it is.
    "${install[@]}" torch &&
        "${install[@]}" --requirement "$list" &&
        "${install[@]}" --no-deps torchsde trampoline &&
        "${pip[@]}" freeze >"$before" || return 1
    pack_requirements >"$list"
    "${install[@]}" --requirement "$list" || return 1
    if "${pip[@]}" freeze | sort | comm -13 - <(sort "$before") | grep .; then
        echo "Installing the pack changed the versions above, which the host had." >&2
        return 1
    fi
    stand_ins && "${install[@]}" pytest $(browser_driver) || return 1
    rm -f "$list" "$before"
    echo "$wanted" >"$stamp"
}
