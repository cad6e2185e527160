#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a test CA and server certificates in DIR, only what is missing:
#   ca.pem ca.key                     the authority
#   server.pem server.key             localhost, 127.0.0.1, ::1, api.openai.com, api.anthropic.com,
#                                     generativelanguage.googleapis.com, *.example.com, *.amazonaws.com
#   expired.pem expired.key           the same names, not valid any more
#   wrongname.pem wrongname.key       good, but for wrong.invalid
#   selfsigned.pem selfsigned.key     the server's names, signed by itself
#   client.pem client.key             a client's, for --client-ca ca.pem
# Each .pem holds the certificate alone. Needs the openssl command line.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: make-ca.sh DIR" >&2
    exit 2
fi
mkdir -p "$1"
cd "$1"
umask 077

names="DNS:localhost,IP:127.0.0.1,IP:::1,DNS:api.openai.com,DNS:api.anthropic.com"
names="$names,DNS:generativelanguage.googleapis.com,DNS:*.example.com,DNS:*.us-east-1.amazonaws.com"

# run COMMAND…: quiet unless it fails
run() {
    if ! "$@" >log.tmp 2>&1; then
        cat log.tmp >&2
        rm -f log.tmp
        exit 1
    fi
    rm -f log.tmp
}

new_key() {
    run openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key.tmp"
    mv "$1.key.tmp" "$1.key"
}

# leaf NAME CN SAN USAGE: a certificate of the CA; NAME=expired gives one of the past
leaf() {
    [ -s "$1.pem" ] && [ -s "$1.key" ] && return 0
    [ -s "$1.key" ] || new_key "$1"
    printf 'subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' \
        "$3" "$4" >"$1.ext.tmp"
    run openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr.tmp"
    if [ "$1" = expired ]; then
        # x509 cannot sign for the past, ca can
        rm -rf db.tmp
        mkdir db.tmp
        : >db.tmp/index
        printf '[ca]\ndefault_ca=d\n[d]\ndatabase=db.tmp/index\nnew_certs_dir=db.tmp\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >db.tmp/conf
        run openssl ca -batch -notext -config db.tmp/conf -cert ca.pem -keyfile ca.key -in "$1.csr.tmp" \
            -extfile "$1.ext.tmp" -startdate 20200101000000Z -enddate 20200201000000Z -out "$1.pem.tmp"
        rm -rf db.tmp
    else
        run openssl x509 -req -in "$1.csr.tmp" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" \
            -days 3650 -sha256 -extfile "$1.ext.tmp" -out "$1.pem.tmp"
    fi
    rm -f "$1.csr.tmp" "$1.ext.tmp"
    mv "$1.pem.tmp" "$1.pem"
}

if [ ! -s ca.pem ] || [ ! -s ca.key ]; then
    rm -f server.pem expired.pem wrongname.pem client.pem # of another authority
    new_key ca
    run openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=llm-sim test CA" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem.tmp
    mv ca.pem.tmp ca.pem
fi
leaf server localhost "$names" serverAuth
leaf expired localhost "$names" serverAuth
leaf wrongname wrong.invalid "DNS:wrong.invalid" serverAuth
leaf client llm-sim-client "DNS:client.invalid" clientAuth
if [ ! -s selfsigned.pem ] || [ ! -s selfsigned.key ]; then
    new_key selfsigned
    run openssl req -x509 -new -key selfsigned.key -sha256 -days 3650 -subj "/CN=localhost" \
        -addext "subjectAltName=$names" -out selfsigned.pem.tmp
    mv selfsigned.pem.tmp selfsigned.pem
fi
