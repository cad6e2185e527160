/* SPDX-License-Identifier: Apache-2.0 */
/* Why a connection was closed or an error reply was sent: no close and no failure without one of
 * these. They appear in the error log, in the access log's $eclusa_reason, and in counters. */
#ifndef BASE_REASON_H
#define BASE_REASON_H

#include <stdbool.h>

#include "base/log.h"

/* X(NAME, log level, status answered (0: none), text) */
#define REASONS(X)                                                                                \
    X(NONE, DEBUG, 0, "none")                                                                     \
    /* ordinary ends */                                                                           \
    X(CLIENT_DONE, DEBUG, 0, "the client closed the connection")                                  \
    X(KEEPALIVE_END, DEBUG, 0, "the connection was idle for keepalive_timeout")                   \
    X(NOT_KEPT, DEBUG, 0, "the connection is not kept alive")                                     \
    X(DRAIN, DEBUG, 0, "the gateway is stopping")                                                 \
    /* the client's faults */                                                                     \
    X(CLIENT_GONE, INFO, 499, "the client closed the connection before the response ended")       \
    X(CLIENT_RESET, INFO, 499, "the client's connection failed")                                  \
    X(CLIENT_HEAD_TIMEOUT, INFO, 408, "the client did not send its request head in time")         \
    X(CLIENT_BODY_TIMEOUT, INFO, 408, "the client did not send its request body in time")         \
    X(CLIENT_SEND_TIMEOUT, INFO, 408, "the client did not take the response in time")             \
    X(BAD_REQUEST_LINE, INFO, 400, "the request line is malformed")                               \
    X(BAD_METHOD, INFO, 400, "the method is not a token")                                         \
    X(BAD_TARGET, INFO, 400, "the request target is malformed")                                   \
    X(BAD_URI_ENCODING, INFO, 400, "the path has a bad percent-encoding or a NUL byte")           \
    X(BAD_URI_TRAVERSAL, INFO, 400, "the path climbs above the root")                             \
    X(BAD_VERSION, INFO, 400, "the HTTP version is malformed")                                    \
    X(VERSION_UNSUPPORTED, INFO, 505, "the HTTP version is not supported")                        \
    X(METHOD_UNSUPPORTED, INFO, 405, "the method is not supported")                               \
    X(BARE_CR_OR_LF, INFO, 400, "a line does not end in CR LF")                                   \
    X(OBS_FOLD, INFO, 400, "a header is folded over lines")                                       \
    X(BAD_HEADER_NAME, INFO, 400, "a header name is malformed")                                   \
    X(BAD_HEADER_VALUE, INFO, 400, "a header value has a control character")                      \
    X(NO_HOST, INFO, 400, "the Host header is missing")                                           \
    X(BAD_HOST, INFO, 400, "the Host header is malformed or repeated")                            \
    X(BAD_CONTENT_LENGTH, INFO, 400, "the Content-Length is malformed or repeated")               \
    X(BAD_TRANSFER_ENCODING, INFO, 400, "the Transfer-Encoding is not a single chunked")          \
    X(BOTH_LENGTHS, INFO, 400, "both Content-Length and Transfer-Encoding are present")           \
    X(BAD_CHUNK, INFO, 400, "the chunked body is malformed")                                      \
    X(BAD_TRAILER, INFO, 400, "the trailer section is malformed")                                 \
    X(BAD_EXPECT, INFO, 417, "the expectation is not known")                                      \
    X(HEAD_CUT, INFO, 400, "the client closed the connection within its request head")            \
    X(BODY_CUT, INFO, 400, "the client closed the connection within its request body")            \
    X(HEAD_TOO_LARGE, INFO, 431, "the request head is too large")                                 \
    X(TOO_MANY_HEADERS, INFO, 431, "the request has too many headers")                            \
    X(URI_TOO_LONG, INFO, 414, "the request target is too long")                                  \
    X(BODY_TOO_LARGE, INFO, 413, "the request body is too large")                                 \
    X(TLS_CLIENT_FAILED, INFO, 0, "the client's TLS handshake failed")                            \
    X(TLS_CLIENT_TIMEOUT, INFO, 0, "the client did not end its TLS handshake in time")            \
    X(TLS_NO_NAME, INFO, 0, "the client's TLS handshake gave no server name")                     \
    X(TLS_NAME_UNKNOWN, INFO, 0, "there is no certificate for the server name")                   \
    X(TLS_NO_CERTIFICATE, ERROR, 0, "the certificate for the server name cannot be used")         \
    X(TLS_CLIENT_UNVERIFIED, INFO, 0, "the client's certificate could not be verified")           \
    X(HTTP_TO_TLS_PORT, INFO, 400, "The plain HTTP request was sent to HTTPS port")               \
    X(MTLS_NOT_VERIFIED, WARN, 400, "the client showed no certificate that is trusted here")      \
    X(MTLS_OTHER_NAME, WARN, 400, "the host is not the server name of the client's handshake")    \
    /* routing and plugins */                                                                     \
    X(NO_ROUTE, INFO, 404, "no route matches")                                                    \
    X(ROUTE_BROKEN, WARN, 503, "the route refers to something that is missing or cannot run")     \
    X(GLOBAL_BROKEN, WARN, 503, "a global rule that guards every request cannot run")             \
    X(PLUGIN_REPLY, DEBUG, 0, "a plugin answered")                                                \
    X(PLUGIN_DROP, INFO, 0, "a plugin dropped the connection")                                    \
    X(PLUGIN_FAULT, ERROR, 500, "a plugin failed")                                                \
    X(RESPONSE_HEADERS, ERROR, 502,                                                               \
      "the response has too many headers, those that plugins add included")                       \
    X(OVER_BUDGET, ERROR, 503, "the request used more memory than allowed")                       \
    /* the upstream's faults */                                                                   \
    X(NO_UPSTREAM, ERROR, 503, "no valid upstream node")                                          \
    X(DNS_FAILED, ERROR, 502, "the upstream's name could not be resolved")                        \
    X(CONNECT_FAILED, ERROR, 502, "the connection to the upstream failed")                        \
    X(CONNECT_STARVED, ERROR, 502,                                                                \
      "the system gave no descriptor, port or memory for a connection to the upstream")           \
    X(CONNECT_TIMEOUT, ERROR, 504, "the connection to the upstream took too long")                \
    X(TLS_FAILED, ERROR, 502, "the TLS handshake with the upstream failed")                       \
    X(TLS_UNVERIFIED, ERROR, 502, "the upstream's certificate could not be verified")             \
    X(TLS_NO_IDENTITY, ERROR, 503, "the certificate to be shown to the upstream cannot be used")  \
    X(SEND_TIMEOUT, ERROR, 504, "the upstream did not take the request in time")                  \
    X(READ_TIMEOUT, ERROR, 504, "the upstream did not answer in time")                            \
    X(UPSTREAM_CLOSED, ERROR, 502,                                                                \
      "the upstream closed the connection before its response head ended")                        \
    X(UPSTREAM_RESET, ERROR, 502,                                                                 \
      "the upstream reset the connection before its response head ended")                         \
    X(UPSTREAM_KEPT_CLOSED, WARN, 502,                                                            \
      "the upstream closed a kept connection as it was used again")                               \
    X(UPSTREAM_CUT, ERROR, 502, "the upstream closed the connection within its response body")    \
    X(UPSTREAM_STALLED, ERROR, 504, "the upstream stopped in its response body for read_timeout") \
    X(UPSTREAM_BAD_HEAD, ERROR, 502, "the upstream's response head is malformed")                 \
    X(UPSTREAM_BAD_CHUNK, ERROR, 502, "the upstream's chunked body is malformed")                 \
    X(UPSTREAM_HEAD_TOO_LARGE, ERROR, 502, "the upstream's response head is too large")           \
    X(UPSTREAM_SWITCHED, ERROR, 502, "the upstream switched protocols without being asked")       \
    X(RETRY_TIMEOUT, ERROR, 502, "the retries took longer than retry_timeout")

enum reason {
#define REASON_ENUM(name, level, status, text) REASON_##name,
    REASONS(REASON_ENUM)
#undef REASON_ENUM
        REASON_COUNT
};

struct reason_info {
    const char *name; /* "CLIENT_GONE" */
    enum log_level level;
    int status; /* 0: nothing is answered */
    const char *text;
};

extern const struct reason_info reasons[REASON_COUNT];

#endif
