//! HTTP for the adapters: one client a provider and key, and the translation of what goes wrong on the way into
//! [`Failure`]s. Messages never carry a key, and of an address only its origin.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::time::timeout;

use super::secrets::Secrets;
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::settings::{KeyValue, ProviderSettings};
use crate::domain::text::plain;

/// The most that is read of a whole answer.
const LARGEST_BODY: usize = 64 << 20;
/// The most that is read of an error's body.
const LARGEST_ERROR: usize = 64 << 10;
/// How long an error's body is waited for.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);
/// The most that is shown of a provider's error message, in characters.
const LONGEST_MESSAGE: usize = 300;

/// Sends requests to one provider, with one of its keys.
pub(super) struct Http {
    url: Url,
    /// The path of the provider's address.
    base_path: String,
    headers: HeaderMap,
    /// What no message may show.
    secrets: Secrets,
    key_source: Option<String>,
    http2: bool,
    /// Authorities to trust beside the public ones.
    authorities: Vec<CertificateDer<'static>>,
    connect_timeout: Duration,
    /// Built on first use: commands that never call need none.
    client: OnceLock<Client>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its address may carry a password.
        f.debug_struct("Http").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

impl Http {
    /// A client for `path` below the provider's address. The key goes into a bearer header.
    pub(super) fn new(
        settings: &ProviderSettings,
        key: Option<&KeyValue>,
        path: &str,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        let url = endpoint(&settings.base_url, path)
            .ok_or_else(|| "its base_url is not an http or https address".to_owned())?;
        let base_path = url.path().strip_suffix(path).unwrap_or_default().to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let invalid = || format!("header `{name}` is not valid");
            let name = HeaderName::try_from(name.as_str()).map_err(|_| invalid())?;
            headers.insert(name, sensitive(value.reveal()).ok_or_else(invalid)?);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let bearer = sensitive(&format!("Bearer {}", key.secret.reveal()));
            let bearer = bearer.ok_or_else(|| "its key holds characters that no key has".to_owned())?;
            headers.insert(AUTHORIZATION, bearer);
        }
        let key_source = key.map(|key| key.source.clone());
        let secrets = Secrets::of(settings, &url);
        let authorities = settings.ca_file.as_deref().map(read_authorities).transpose()?.unwrap_or_default();
        let (http2, client) = (settings.http2, OnceLock::new());
        Ok(Self { url, base_path, headers, secrets, key_source, http2, authorities, connect_timeout, client })
    }

    /// Gets what is at `path` below the provider's address; that it succeeds is all that is asked.
    pub(super) async fn get(&self, path: &str) -> Result<(), Failure> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.base_path));
        let request = self.client()?.get(url).headers(self.headers.clone());
        let response = request.send().await.map_err(|error| self.failure(&error, FailureKind::Dropped))?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal(response).await) }
    }

    /// Posts a body; returns the response once its head is there and says success.
    pub(super) async fn post(&self, body: Bytes) -> Result<Response, Failure> {
        let request = self.client()?.post(self.url.clone()).headers(self.headers.clone()).body(body);
        let response = request.send().await.map_err(|error| self.failure(&error, FailureKind::Dropped))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    /// Reads a whole answer.
    pub(super) async fn whole(&self, mut response: Response) -> Result<Bytes, Failure> {
        // What remains of the body, so it must be asked before anything is taken from it.
        let length = response.content_length();
        let mut body = BytesMut::new();
        while let Some(piece) =
            response.chunk().await.map_err(|error| self.failure(&error, FailureKind::Dropped))?
        {
            // The usual answer is one piece: it is passed on as it is.
            if body.is_empty() && length == Some(piece.len() as u64) {
                return Ok(piece);
            }
            body.extend_from_slice(&piece);
            if body.len() > LARGEST_BODY {
                let message = format!("{} sent more than {} MiB", self.origin(), LARGEST_BODY >> 20);
                return Err(Failure::new(FailureKind::BadResponse, message));
            }
        }
        Ok(body.freeze())
    }

    /// What went wrong with a connection. `sent` is the kind where the request had gone out.
    pub(super) fn failure(&self, error: &reqwest::Error, sent: FailureKind) -> Failure {
        let cause = root_cause(error);
        let (kind, what) = if error.is_connect() {
            (FailureKind::Connect, "cannot connect to")
        } else {
            (sent, "lost the connection to")
        };
        let cause = if error.is_connect() && error.is_timeout() {
            format!("no connection within {:?}", self.connect_timeout)
        } else {
            cause
        };
        Failure::new(kind, self.redact(&format!("{what} {}: {cause}", self.origin())))
    }

    /// What no message may show.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Scheme, host and port, without whatever else an address may carry.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// One line of bounded length without the key.
    pub(super) fn redact(&self, text: &str) -> String {
        let clean = self.secrets.hide(text);
        let line = plain(&clean).split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(LONGEST_MESSAGE) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = build_client(self.http2, &self.authorities, self.connect_timeout)
            .map_err(|reason| Failure::new(FailureKind::Connect, format!("no HTTP client: {reason}")))?;
        Ok(self.client.get_or_init(|| built))
    }

    /// What a response that is not a success says.
    async fn refusal(&self, mut response: Response) -> Failure {
        let status = response.status();
        let headers = response.headers().clone();
        let body = error_body(&mut response).await;
        let (message, code) = provider_error(&serde_json::from_slice(&body).unwrap_or_default());
        let reason =
            message.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned());
        let key = match &self.key_source {
            Some(source) if matches!(status.as_u16(), 401..=403) => format!(" (the key is from {source})"),
            _ => String::new(),
        };
        let said = self.redact(&format!("{} answered {}: {reason}", self.origin(), status.as_u16()));
        let message = said + &key;
        Failure {
            status: Some(status.as_u16()),
            code: code.map(|code| self.redact(&code)),
            retry_after: retry_after(&headers),
            should_retry: should_retry(&headers),
            ..Failure::new(FailureKind::Http, message)
        }
    }
}

/// What can be had of an error's body in a moment: its status is there already, and matters more.
async fn error_body(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() > LARGEST_ERROR {
                break;
            }
        }
    };
    // Out of time: what there is will do.
    let _ = timeout(ERROR_BODY_TIME, read).await;
    body
}

/// `{"error": {message, code, type}}` and what others make of it: a bare string, a list of one, no wrapper.
pub(super) fn provider_error(body: &Value) -> (Option<String>, Option<String>) {
    let body = body.get(0).unwrap_or(body);
    let error = body.get("error").unwrap_or(body);
    let text = |field: &str| error.get(field).and_then(Value::as_str).map(str::to_owned);
    let message = error.as_str().map(str::to_owned).or_else(|| text("message")).or_else(|| text("detail"));
    // A quota that is used up may be named by either; elsewhere the code is the finer word.
    let exhausted = text("type").filter(|kind| crate::policy::retry::is_exhausted(kind));
    (message, exhausted.or_else(|| text("code")).or_else(|| text("type")))
}

/// A header that HTTP libraries do not show.
fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `base` with `path` appended to its path.
fn endpoint(base: &str, path: &str) -> Option<Url> {
    let base =
        Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    Some(url)
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    headers.get("x-should-retry")?.to_str().ok()?.parse().ok()
}

/// How long the provider asks to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date, which
/// is compared with the provider's own clock where it shows it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, unit: f64| Duration::try_from_secs_f64(text.parse::<f64>().ok()? * unit).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|ms| seconds(ms, 1e-3)) {
        return Some(wait);
    }
    let asked = text(RETRY_AFTER.as_str())?;
    seconds(asked, 1.0).or_else(|| {
        let until = httpdate::parse_http_date(asked).ok()?;
        let now = text(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
        Some(until.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default())
    })
}

/// The innermost error: `Connection refused (os error 111)`.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The certificates of a PEM file.
fn read_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |reason: String| format!("its ca_file {}: {reason}", file.display());
    let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(authorities) if authorities.is_empty() => Err(failed("there is no certificate in it".into())),
        Ok(authorities) => Ok(authorities),
        Err(_) => Err(failed("it is not a PEM file".into())),
    }
}

/// A client that verifies servers against Mozilla's roots, which are compiled in: loading the system's
/// would cost every command several milliseconds.
fn build_client(
    http2: bool,
    authorities: &[CertificateDer<'static>],
    connect_timeout: Duration,
) -> Result<Client, String> {
    let mut roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<rustls::RootCertStore>();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| format!("a certificate of its ca_file: {error}"))?;
    }
    let mut tls =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
    // A configuration of our own says for itself what it speaks.
    tls.alpn_protocols =
        if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(connect_timeout)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("llmops/", env!("CARGO_PKG_VERSION")));
    let builder = if http2 { builder } else { builder.http1_only() };
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn waits_are_read_in_every_form() {
        let wait = |pairs: &[_]| retry_after(&headers(pairs));
        assert_eq!(wait(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
        assert_eq!(
            wait(&[("retry-after", "1"), ("retry-after-ms", "250")]),
            Some(Duration::from_millis(250))
        );
        let dated =
            [("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), ("date", "Sun, 06 Nov 1994 08:49:30 GMT")];
        assert_eq!(wait(&dated), Some(Duration::from_secs(7)));
        for nonsense in ["-1", "NaN", "inf", "1e300", "soon", ""] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn errors_are_read_in_every_form() {
        let read = |body: Value| provider_error(&body);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read(json!({"error": {"message": "m", "type": "t", "code": "c"}})),
            (some("m"), some("c"))
        );
        assert_eq!(
            read(json!({"error": {"message": "m", "type": "t", "code": null}})),
            (some("m"), some("t"))
        );
        assert_eq!(read(json!([{"error": {"message": "m", "code": 429}}])), (some("m"), None));
        assert_eq!(read(json!({"error": "plain"})), (some("plain"), None));
        assert_eq!(read(json!({"detail": "d"})), (some("d"), None));
        let quota = json!({"error": {"message": "m", "type": "insufficient_quota", "code": "x"}});
        assert_eq!(read(quota).1, some("insufficient_quota"));
        assert_eq!(read(json!(5)), (None, None));
    }
}
