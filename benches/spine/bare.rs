//! The yardstick: the least that a client on the same HTTP library can do. The same prompts
//! in the same JSON body, as many in flight, on a current-thread runtime; each body is read,
//! parsed and counted, and nothing is kept, priced, retried, timed out or written.

use std::fs;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::Outcome;

/// Stands in the template for the prompt. Plain words, so that nothing escapes it.
pub const PLACEHOLDER: &str = "the prompt goes here";

/// Sends every line of the file, `jobs` at a time, to the chat completions below `url`.
pub fn run(url: &str, file: &str, jobs: &str, template: &str) -> Outcome<()> {
    let jobs: usize = jobs.parse()?;
    let marker = serde_json::to_string(PLACEHOLDER)?;
    let (before, after) = template.split_once(&marker).ok_or("the template lacks its placeholder")?;
    let prompts = fs::read_to_string(file)?;
    let endpoint = format!("{url}/chat/completions");
    let client = client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let parsed = runtime.block_on(async {
        stream::iter(prompts.lines())
            .map(|prompt| {
                let (client, endpoint) = (&client, endpoint.as_str());
                async move {
                    let prompt = serde_json::to_string(prompt)?;
                    call(client, endpoint, [before, &prompt, after].concat()).await
                }
            })
            .buffer_unordered(jobs)
            .try_fold(0_usize, async |count, ()| Ok(count + 1))
            .await
    })?;
    if parsed != prompts.lines().count() {
        return Err(format!("only {parsed} bodies were parsed").into());
    }
    Ok(())
}

/// One request: send, read the body, parse it, see that it holds an answer.
async fn call(client: &Client, endpoint: &str, body: String) -> Outcome<()> {
    let request = client.post(endpoint).bearer_auth("bench").header(CONTENT_TYPE, "application/json");
    let response = request.body(body).send().await?.error_for_status()?;
    let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
    match answer.pointer("/choices/0/message/content") {
        Some(Value::String(_)) => Ok(()),
        _ => Err("a body without an answer".into()),
    }
}

/// A client that trusts nobody: the upstream speaks plain HTTP, and loading the certificates
/// of the system would be charged to the yardstick.
fn client() -> Outcome<Client> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?)
}
