//! Sends a message to people: a webhook, ntfy, Slack, DingTalk, Feishu and WeCom.
//!
//! What authorises the message is a secret that this plugin uses without seeing it. The signatures
//! of DingTalk and Feishu have to be computed from a secret, so that one comes with the input.

mod sign;

use openclaw_plugin_sdk::http::{Request, Response};
use openclaw_plugin_sdk::{Error, Result, config, export, now_ms, secrets};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Characters of a text; the services cut or refuse longer ones.
const TEXT_CHARS: usize = 4_000;

/// A message for a webhook of one's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    url: String,
    body: Value,
    /// Whether the secret `webhook` goes along as a bearer token.
    #[serde(default)]
    authorize: bool,
}

/// A message for ntfy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ntfy {
    #[serde(default = "ntfy_server")]
    server: String,
    topic: String,
    text: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    priority: Option<u8>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    authorize: bool,
}

/// A message for a group of Slack or WeCom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    text: String,
    #[serde(default)]
    markdown: bool,
}

/// A message for a group of DingTalk or Feishu.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    text: String,
    /// Where given, DingTalk takes the text as Markdown under this title.
    #[serde(default)]
    title: Option<String>,
    /// The secret of the signature, where the group wants one; the setting `signing_secret` where
    /// absent.
    #[serde(default)]
    signing_secret: Option<String>,
}

/// That the service took it.
#[derive(Debug, Serialize)]
pub struct Delivered {
    status: u16,
}

export!(webhook, to_webhook);
export!(ntfy, to_ntfy);
export!(slack, to_slack);
export!(dingtalk, to_dingtalk);
export!(feishu, to_feishu);
export!(wecom, to_wecom);

/// Posts JSON to a URL.
///
/// # Errors
/// `http.connect`, `http.status`, `permission.denied`; those of every action.
pub fn to_webhook(input: Webhook) -> Result<Delivered> {
    let mut request = post(input.url, &input.body);
    if input.authorize {
        request =
            request.header("authorization", format!("Bearer {}", secrets::handle("webhook")?));
    }
    delivered(&answered("the webhook", request)?)
}

/// Publishes at ntfy, as JSON to its root.
///
/// # Errors
/// As [`to_webhook`]; `inputs.invalid` for a priority that is none.
pub fn to_ntfy(input: Ntfy) -> Result<Delivered> {
    let mut body = json!({ "topic": input.topic, "message": text(&input.text)? });
    if let Some(title) = input.title {
        body["title"] = title.into();
    }
    if let Some(priority) = input.priority {
        if !(1..=5).contains(&priority) {
            return Err(Error::new("inputs.invalid", "`priority` is 1 to 5"));
        }
        body["priority"] = priority.into();
    }
    if !input.tags.is_empty() {
        body["tags"] = input.tags.into();
    }
    let mut request = post(format!("{}/", input.server.trim_end_matches('/')), &body);
    if input.authorize {
        request = request.header("authorization", format!("Bearer {}", secrets::handle("ntfy")?));
    }
    delivered(&answered("ntfy", request)?)
}

/// Posts to an incoming webhook of Slack.
///
/// # Errors
/// As [`to_webhook`].
pub fn to_slack(input: Plain) -> Result<Delivered> {
    let body = json!({ "text": text(&input.text)?, "mrkdwn": input.markdown });
    let path = secrets::handle("slack")?;
    let request = post(format!("https://hooks.slack.com/services/{path}"), &body);
    delivered(&answered("Slack", request)?)
}

/// Posts to a robot of DingTalk.
///
/// # Errors
/// As [`to_webhook`]; `user.refused` where the service says no.
pub fn to_dingtalk(input: Signed) -> Result<Delivered> {
    let text = text(&input.text)?;
    let body = match input.title {
        None => json!({ "msgtype": "text", "text": { "content": text } }),
        Some(title) => {
            json!({ "msgtype": "markdown", "markdown": { "title": title, "text": text } })
        }
    };
    let token = secrets::handle("dingtalk")?;
    let mut url = format!("https://oapi.dingtalk.com/robot/send?access_token={token}");
    if let Some(secret) = signing_secret(input.signing_secret) {
        let now = now_ms()?;
        url.push_str(&format!("&timestamp={now}&sign={}", sign::dingtalk(now, &secret)));
    }
    accepted("DingTalk", post(url, &body), "errcode", "errmsg")
}

/// Posts to a robot of Feishu (Lark).
///
/// # Errors
/// As [`to_dingtalk`].
pub fn to_feishu(input: Signed) -> Result<Delivered> {
    let text = text(&input.text)?;
    let text = input.title.map_or(text.to_owned(), |title| format!("{title}\n{text}"));
    let mut body = json!({ "msg_type": "text", "content": { "text": text } });
    if let Some(secret) = signing_secret(input.signing_secret) {
        let now = now_ms()? / 1_000;
        body["timestamp"] = now.to_string().into();
        body["sign"] = sign::feishu(now, &secret).into();
    }
    let token = secrets::handle("feishu")?;
    let url = format!("https://open.feishu.cn/open-apis/bot/v2/hook/{token}");
    accepted("Feishu", post(url, &body), "code", "msg")
}

/// Posts to a robot of WeCom.
///
/// # Errors
/// As [`to_dingtalk`].
pub fn to_wecom(input: Plain) -> Result<Delivered> {
    let kind = if input.markdown { "markdown" } else { "text" };
    let body = json!({ "msgtype": kind, kind: { "content": text(&input.text)? } });
    let key = secrets::handle("wecom")?;
    let url = format!("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={key}");
    accepted("WeCom", post(url, &body), "errcode", "errmsg")
}

fn text(text: &str) -> Result<&str> {
    match text.chars().count() {
        0 => Err(Error::new("inputs.invalid", "`text` is empty")),
        n if n > TEXT_CHARS => {
            let message = format!("`text` has {n} characters, the most is {TEXT_CHARS}; cut it");
            Err(Error::new("inputs.invalid", message))
        }
        _ => Ok(text),
    }
}

fn signing_secret(given: Option<String>) -> Option<String> {
    given.or_else(|| config("signing_secret")).filter(|secret| !secret.is_empty())
}

fn post(url: String, body: &Value) -> Request {
    let request = Request::new("POST", url).header("content-type", "application/json");
    request.body(body.to_string())
}

/// The answer, where its status is a success. Who is busy may take it later.
fn answered(service: &str, request: Request) -> Result<Response> {
    let response = request.send()?;
    let status = response.status;
    if (200..300).contains(&status) {
        return Ok(response);
    }
    let error =
        Error::new("http.status", format!("{service} answered {status}: {}", start(&response)));
    Err(if matches!(status, 408 | 425 | 429 | 500..) { error.retryable() } else { error })
}

fn delivered(response: &Response) -> Result<Delivered> {
    Ok(Delivered { status: response.status })
}

/// Some services answer 200 whatever comes, and say in the body whether they took it.
fn accepted(service: &str, request: Request, code: &str, message: &str) -> Result<Delivered> {
    let response = answered(service, request)?;
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    match body[code].as_i64() {
        Some(0) => delivered(&response),
        Some(number) => {
            let said = body[message].as_str().unwrap_or_default();
            let error = Error::new("user.refused", format!("{service} refused: {number} {said}"));
            // Both limit how much a robot says in a minute.
            Err(if matches!(number, 45_009 | 130_101 | 11_232 | 9_499) {
                error.retryable()
            } else {
                error
            })
        }
        None => {
            let said = start(&response);
            Err(Error::new("user.refused", format!("{service} answered what is no answer: {said}")))
        }
    }
}

fn start(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.body);
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn ntfy_server() -> String {
    "https://ntfy.sh".to_owned()
}
