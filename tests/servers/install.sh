#!/bin/sh
# What the tests against real programs need, from Debian's packages: mail servers, a browser, a second MIME parser, the
# shells whose completions are tested.
# Safe to run again: what is there is left alone, and apt-get is called only when something is missing.
#
# Debian lets one mail server only be installed at a time, and starts it on port 25. So the mail servers are unpacked
# into tests/servers/.packages instead: nothing that this machine runs is replaced, nothing is started. Dovecot,
# PostgreSQL, RabbitMQ, Redis, Chromium and Node.js are installed; a policy-rc.d keeps servers from being started.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
packages=$here/.packages
tests=$(dirname "$here")
export DEBIAN_FRONTEND=noninteractive

give_up() {
    echo "install.sh: $1" >&2
    echo "install.sh: tests against what is missing will be skipped and say so" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

# --- who may install

if [ "$(id -u)" = 0 ]; then
    as_root() { "$@"; }
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root() { sudo -n "$@"; }
else
    as_root() { return 1; }
fi

updated=
refresh() {
    [ -n "$updated" ] || as_root apt-get -q -o DPkg::Lock::Timeout=300 update >&2
    updated=yes
}

# Installs packages without starting what they bring (policy-rc.d: invoke-rc.d asks it), and without removing any.
install() {
    refresh
    policy=/usr/sbin/policy-rc.d
    ours=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
        ours=yes
    fi
    status=0
    as_root apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends --no-remove install "$@" >&2 || status=$?
    [ -z "$ours" ] || as_root rm -f $policy
    return $status
}

# --- what is missing

servers="postfix/usr/lib/postfix/sbin/smtpd exim4-daemon-heavy/usr/sbin/exim4 opensmtpd/usr/sbin/smtpd"
servers="$servers dovecot-submissiond/usr/lib/dovecot/submission courier-mta/usr/sbin/courieresmtpd"
servers="$servers chasquid/usr/bin/chasquid"

parts() { # parts PACKAGE: what is unpacked into its folder
    case $1 in
    courier-mta) echo courier-mta courier-base courier-authlib libcourier-unicode4 ;;
    *) echo "$1" ;;
    esac
}

runs() { # runs PACKAGE/BINARY: is it there, with all the libraries that it needs?
    libraries=$packages/postfix/usr/lib/postfix:/usr/lib/dovecot:$packages/courier-mta/usr/lib
    for folder in "$packages"/courier-mta/usr/lib/*-linux-gnu; do libraries=$libraries:$folder; done
    [ -x "$packages/$1" ] && ! LD_LIBRARY_PATH=$libraries ldd "$packages/$1" | grep -q 'not found'
}

missing=
for server in $servers; do
    runs "$server" || missing="$missing $server"
done

users=
for user in postfix Debian-exim opensmtpd opensmtpq; do
    getent passwd "$user" >/dev/null || users="$users $user"
done
getent group postdrop >/dev/null || users="$users postdrop"

wanted=
[ -x /usr/sbin/dovecot ] || wanted="$wanted dovecot-core"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || wanted="$wanted postgresql"
[ -x /usr/sbin/rabbitmq-server ] || wanted="$wanted rabbitmq-server"
command -v redis-server >/dev/null || wanted="$wanted redis-server"
command -v chromium >/dev/null || wanted="$wanted chromium"
command -v node >/dev/null || wanted="$wanted nodejs"
command -v npm >/dev/null || wanted="$wanted npm"
command -v zsh >/dev/null || wanted="$wanted zsh"
command -v fish >/dev/null || wanted="$wanted fish"
command -v groff >/dev/null || wanted="$wanted groff-base"
parser=mailparser
[ ! -d "$tests/node_modules/$parser" ] || parser=
haraka=Haraka@3.3.4
[ ! -d "$packages/haraka/node_modules/Haraka" ] || haraka=

if [ -z "$missing$users$wanted$parser$haraka" ]; then
    exit 0
fi
echo "install.sh: missing:$missing$users$wanted $parser $haraka" >&2

npm_parser() { # needs no root
    [ -z "$parser" ] || (cd "$tests" && npm install --no-package-lock --no-audit --no-fund --silent >&2) || return 1
    parser=
}
npm_haraka() { # a mail server written in JavaScript; its native modules are optional, so none is compiled
    [ -z "$haraka" ] || npm install --prefix "$packages/haraka" --ignore-scripts --no-audit --no-fund --silent "$haraka" >&2 || return 1
    haraka=
}
npm_parser || true # where npm is missing it is installed below

if [ -n "$missing$users$wanted" ]; then
    command -v apt-get >/dev/null || give_up "there is no apt-get here: only Debian's packages are known to this script"
    as_root true || give_up "neither root nor sudo without a password: cannot install$missing$users$wanted"
fi

# --- the rest

if [ -n "$wanted" ]; then
    # shellcheck disable=SC2086 # a list of words
    install $wanted || give_up "apt-get could not install$wanted"
fi

for server in $missing; do
    name=${server%%/*}
    refresh
    scratch=$(mktemp -d)
    # shellcheck disable=SC2046 # a list of words
    (cd "$scratch" && apt-get -q -o APT::Sandbox::User=root download $(parts "$name") >&2) || give_up "apt-get could not download $name"
    mkdir -p "$packages/$name"
    for part in "$scratch"/*.deb; do dpkg-deb -x "$part" "$packages/$name"; done
    chmod -R u-s,g-s "$packages/$name"
    if ! runs "$server"; then
        # Only the libraries: the rest of what the package wants is for a server that this machine would run itself.
        libraries=$(dpkg-deb -f "$scratch/$name"_*.deb Depends | tr ',' '\n' | sed -n 's/^ *\(lib[^ |:]*\).*/\1/p')
        # shellcheck disable=SC2086
        install $libraries || give_up "apt-get could not install the libraries of $name"
    fi
    rm -rf "$scratch"
done

for user in $users; do
    # The servers drop their privileges to accounts that their packages would make; these have no home and no shell.
    if [ "$user" = postdrop ]; then
        as_root groupadd --system postdrop
    elif getent group "$user" >/dev/null; then
        as_root useradd --system --gid "$user" --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
    else
        as_root useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
    fi
done

npm_parser || give_up "npm could not install $parser"
npm_haraka || give_up "npm could not install $haraka"
