/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of certificates and of secret managers: APISIX 3.18's schema_def and
 * apisix/secret. */
#include "config/model.h"

#include <stddef.h>

/* ---- Certificates ---- */

#define PEM_CERT .min = 128, .max = 64 * 1024
#define PEM_KEY  .flags = FIELD_SECRET, .min = 64, .max = 64 * 1024

static const char *const type_names[] = {"server", "client", NULL};
static const char *const status_names[] = {"1", "0", NULL};
static const char *const protocol_names[] = {"TLSv1.1", "TLSv1.2", "TLSv1.3", NULL};

static const struct field cert_row = {"cert", FIELD_STR, PEM_CERT};
static const struct field key_row = {"key", FIELD_STR, PEM_KEY};
static const struct field regex_row = {"regex", FIELD_STR,
                                       .doc = "uri regular expression to skip mtls"};
static const struct field protocol_row = {"protocol", FIELD_ENUM, .names = protocol_names};

#define AT(member) .at = offsetof(struct ssl_client_doc, member)

static const struct field client_rows[] = {
    {"ca", FIELD_STR, .flags = FIELD_REQUIRED, AT(ca), .min = 128, .max = 64 * 1024,
     .doc = "Certificates of those who sign clients' certificates (PEM)."},
    {"depth", FIELD_INT, .flags = FIELD_HAS_MIN, AT(depth), .def = "1",
     .doc = "Longest chain of certificates."},
    {"skip_mtls_uri_regex", FIELD_LIST, .flags = FIELD_UNIQUE, AT(skip), .min = 1, .of = &regex_row,
     .doc = "Paths that are served without a client's certificate."},
    {0},
};
static const struct fields client_fields = {client_rows, NULL, sizeof(struct ssl_client_doc), true,
                                            NULL};

#undef AT
#define AT(member) .at = offsetof(struct ssl_doc, member)

static const struct field ssl_rows[] = {
    MODEL_HEAD_ROWS,
    {"type", FIELD_ENUM, AT(type), .names = type_names, .def = "\"server\"",
     .doc = "Shown to clients (server), or by the gateway to upstreams (client)."},
    {"cert", FIELD_STR, AT(cert), PEM_CERT, .doc = "Certificate and its chain (PEM)."},
    {"key", FIELD_STR, AT(key), PEM_KEY, .doc = "Its key (PEM); never shown."},
    {"sni", FIELD_STR, AT(sni), .pattern = MODEL_HOST_PATTERN,
     .doc = "Server name; `*.` in front stands for any label."},
    {"snis", FIELD_LIST, AT(snis), .min = 1, .of = &model_host_row, .doc = "Several of them."},
    {"certs", FIELD_LIST, AT(certs), .of = &cert_row, .doc = "Further certificates."},
    {"keys", FIELD_LIST, AT(keys), .of = &key_row, .doc = "Their keys, in the same order."},
    {"client", FIELD_OBJECT, AT(client), .fields = &client_fields,
     .doc = "Certificates wanted of clients."},
    {"status", FIELD_INT, AT(status), .names = status_names, .def = "1",
     .doc = "ssl status, 1 to enable, 0 to disable"},
    {"ssl_protocols", FIELD_LIST, .flags = FIELD_UNIQUE, AT(protocols), .max = 3,
     .of = &protocol_row, .doc = "set ssl protocols"},
    {0},
};
static const struct field_rule ssl_rules[] = {
    {RULE_WHEN, "type=server|sni,key,cert|snis,key,cert|else|key,cert", 0}, {0}};
const struct fields model_ssl_fields = {ssl_rows, ssl_rules, sizeof(struct ssl_doc), false,
                                        "A certificate, and for which names it is."};

/* ---- Secret managers ---- */

#define URI_PATTERN "^[^\\/]+:\\/\\/([\\da-zA-Z.-]+|\\[[\\da-fA-F:]+\\])(:\\d+)?"

#undef AT
#define TEXT_ROW(row, more, text)                      \
    {                                                  \
        row, FIELD_STR, .flags = (more), .doc = (text) \
    }

static const struct field vault_rows[] = {
    {"uri", FIELD_STR, .flags = FIELD_REQUIRED, .pattern = URI_PATTERN, .doc = "Vault's address."},
    TEXT_ROW("prefix", FIELD_REQUIRED, "Path before that of the secret."),
    TEXT_ROW("token", FIELD_REQUIRED | FIELD_SECRET, "Vault's token."),
    TEXT_ROW("namespace", 0, "Vault's namespace."),
    {0},
};
static const struct field aws_rows[] = {
    TEXT_ROW("access_key_id", FIELD_REQUIRED, "AWS access key."),
    TEXT_ROW("secret_access_key", FIELD_REQUIRED | FIELD_SECRET, "Its secret."),
    TEXT_ROW("session_token", FIELD_SECRET, "Session token."),
    {"region", FIELD_STR, .def = "\"us-east-1\"", .doc = "Region."},
    {"endpoint_url", FIELD_STR, .pattern = URI_PATTERN, .doc = "Another address of the service."},
    {0},
};
static const struct field scope_row = {.name = "scope", .type = FIELD_STR};
static const struct field gcp_auth_rows[] = {
    TEXT_ROW("client_email", FIELD_REQUIRED, "Service account."),
    TEXT_ROW("private_key", FIELD_REQUIRED | FIELD_SECRET, "Its key."),
    TEXT_ROW("project_id", FIELD_REQUIRED, "Project."),
    {"token_uri", FIELD_STR, .def = "\"https://oauth2.googleapis.com/token\"",
     .doc = "Where tokens come from."},
    {"scope", FIELD_LIST, .of = &scope_row,
     .def = "[\"https://www.googleapis.com/auth/cloud-platform\"]", .doc = "Scopes."},
    {"entries_uri", FIELD_STR, .def = "\"https://secretmanager.googleapis.com/v1\"",
     .doc = "Where secrets come from."},
    {0},
};
static const struct fields gcp_auth_fields = {gcp_auth_rows, .open = true};
static const struct field gcp_auth_row = {"auth_config", FIELD_OBJECT, .fields = &gcp_auth_fields};
static const struct field gcp_rows[] = {
    {"auth_config", FIELD_JSON, .of = &gcp_auth_row, .doc = "The service account."},
    {"ssl_verify", FIELD_BOOL, .def = "true", .doc = "Verify the certificate."},
    {"auth_file", FIELD_STR, .doc = "File with the service account."},
    {0},
};
static const struct field_rule gcp_rules[] = {{RULE_ONE_OF, "auth_config|auth_file", 0}, {0}};

static const struct fields vault_fields = {vault_rows, .open = true};
static const struct fields aws_fields = {aws_rows, .open = true};
static const struct fields gcp_fields = {gcp_rows, gcp_rules, .open = true};

static const struct manager {
    struct str name; /* absent: behind the last one */
    const struct fields *fields;
} managers[] = {{{"vault", 5}, &vault_fields},
                {{"aws", 3}, &aws_fields},
                {{"gcp", 3}, &gcp_fields},
                {.fields = NULL}};

const struct fields *model_manager_fields(struct str id)
{
    const struct manager *m = managers;
    struct str manager, rest;

    str_cut(id, '/', &manager, &rest);
    while (m->name.p && !str_eq(m->name, manager))
        m++;
    return m->fields;
}
