//! Credential chain for requests without keys of their own: environment, shared files, container role,
//! instance role, in the order of the AWS tools.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use smol::lock::Mutex;
use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::transport::DefaultConnector;

use super::sigv4::Keys;
use crate::base::time::Utc;
use crate::io::net::http_names::Names;

/// Time-out of one request to a metadata service: it is local, or missing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Temporary credentials are renewed this long before they expire.
const MARGIN: Duration = Duration::from_secs(300);
/// Largest response of a metadata service, bytes.
const MAX_ANSWER: u64 = 64 * 1024;
/// Metadata service for containers.
const CONTAINER: &str = "http://169.254.170.2";
/// Metadata service for instances.
const INSTANCE: &str = "http://169.254.169.254";
/// Addresses besides loopback to which the container role may be requested unencrypted.
const NEAR: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Access to environment variables.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Credentials and their expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lent {
    keys: Keys,
    until: Option<Utc>,
}

/// Finds credentials and caches temporary ones until they expire.
#[derive(Debug)]
pub struct Chain {
    agent: Agent,
    kept: Mutex<Option<Lent>>,
}

impl Default for Chain {
    fn default() -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), Names), kept: Mutex::new(None) }
    }
}

impl Chain {
    /// The credentials to sign with at `now`. May block for some seconds.
    ///
    /// # Errors
    /// No credentials found, or those found are unusable: where, and why.
    pub fn keys(&self, now: Utc, env: Env<'_>) -> Result<Keys, String> {
        let mut kept = self.kept.lock_blocking();
        let fresh = |lent: &&Lent| lent.until.is_some_and(|until| now.0 + MARGIN < until.0);
        if let Some(lent) = kept.as_ref().filter(fresh) {
            return Ok(lent.keys.clone());
        }
        let found = self.find(env)?;
        let keys = found.keys.clone();
        *kept = Some(found);
        Ok(keys)
    }

    fn find(&self, env: Env<'_>) -> Result<Lent, String> {
        if let Some(keys) = of_environment(env)? {
            return Ok(Lent { keys, until: None });
        }
        if let Some(keys) = of_files(env)? {
            return Ok(Lent { keys, until: None });
        }
        if let Some(lent) = self.of_container(env)? {
            return Ok(lent);
        }
        if env("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
            return Err(
                "no S3 credentials: neither in the settings, the environment nor the shared files".to_owned()
            );
        }
        self.of_instance(env).map_err(|e| {
            format!("no S3 credentials: neither in the settings, the environment nor the shared files, and no role: {e}")
        })
    }

    /// The container role, if the environment says how to request it.
    fn of_container(&self, env: Env<'_>) -> Result<Option<Lent>, String> {
        let url = match (
            env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            env("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ) {
            (Some(path), _) => format!("{CONTAINER}{path}"),
            (None, Some(url)) => url,
            (None, None) => return Ok(None),
        };
        if !is_near_or_encrypted(&url) {
            return Err(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI: https, or http to loopback, is allowed".to_owned()
            );
        }
        let token = match env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => {
                let text = std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
                Some(text.trim().to_owned())
            }
            None => env("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let token = token.as_deref().map(|t| ("Authorization", t));
        let answer = self.get(&url, token).map_err(|e| format!("the container's role: {e}"))?;
        lent(&answer).map(Some).map_err(|e| format!("the container's role: {e}"))
    }

    /// The instance role (IMDSv2).
    fn of_instance(&self, env: Env<'_>) -> Result<Lent, String> {
        let base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned());
        let base = base.trim_end_matches('/');
        let session = self
            .agent
            .put(format!("{base}/latest/api/token"))
            .header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
            .send_empty();
        let session = session.map_err(|e| e.to_string()).and_then(text)?;
        let token = Some(("X-aws-ec2-metadata-token", session.trim()));
        let roles = format!("{base}/latest/meta-data/iam/security-credentials/");
        let names = self.get(&roles, token)?;
        let name = names.lines().next().map(str::trim).filter(|n| !n.is_empty());
        let name = name.ok_or("this machine has no role")?;
        lent(&self.get(&format!("{roles}{name}"), token)?)
    }

    fn get(&self, url: &str, header: Option<(&str, &str)>) -> Result<String, String> {
        let mut request = self.agent.get(url);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.call().map_err(|e| e.to_string()).and_then(text)
    }
}

fn text(mut reply: ureq::http::Response<ureq::Body>) -> Result<String, String> {
    if !reply.status().is_success() {
        return Err(format!("it answered {}", reply.status().as_u16()));
    }
    let body = reply.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(|e| e.to_string())?;
    String::from_utf8(body).map_err(|_| "it answered with something else than text".to_owned())
}

/// Credentials may be sent unencrypted only on this host and link-local.
fn is_near_or_encrypted(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let near = |ip: IpAddr| ip.is_loopback() || NEAR.iter().any(|n| n.parse() == Ok(ip));
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => host == "localhost" || host.parse().is_ok_and(near),
        _ => false,
    }
}

/// Response of a metadata service.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    code: Option<String>,
    message: Option<String>,
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

fn lent(answer: &str) -> Result<Lent, String> {
    // The response may contain secrets: errors must not quote it.
    let answer: Answer =
        serde_json::from_str(answer).map_err(|_| "it answered with something else than keys")?;
    if answer.access_key_id.is_empty() || answer.secret_access_key.is_empty() {
        let why = answer.message.or(answer.code).unwrap_or_else(|| "it has no keys".to_owned());
        return Err(why);
    }
    let keys = Keys {
        access_key: answer.access_key_id,
        secret_key: answer.secret_access_key,
        session_token: answer.token.filter(|t| !t.is_empty()),
    };
    Ok(Lent { keys, until: answer.expiration.as_deref().and_then(Utc::parse) })
}

/// Both keys or neither.
fn pair(
    place: &str,
    access_key: Option<String>,
    secret_key: Option<String>,
    session_token: Option<String>,
) -> Result<Option<Keys>, String> {
    let set = |v: Option<String>| v.filter(|v| !v.is_empty());
    match (set(access_key), set(secret_key)) {
        (Some(access_key), Some(secret_key)) => {
            Ok(Some(Keys { access_key, secret_key, session_token: set(session_token) }))
        }
        (None, None) => Ok(None),
        _ => Err(format!("{place}: the access key and the secret key belong together, one is missing")),
    }
}

fn of_environment(env: Env<'_>) -> Result<Option<Keys>, String> {
    let keys = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"));
    pair("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", keys.0, keys.1, env("AWS_SESSION_TOKEN"))
}

/// The shared files of the AWS tools.
fn of_files(env: Env<'_>) -> Result<Option<Keys>, String> {
    let profile = env("AWS_PROFILE").filter(|p| !p.is_empty());
    let name = profile.as_deref().unwrap_or("default");
    let places = [
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name.to_owned()),
        (
            "AWS_CONFIG_FILE",
            "config",
            if name == "default" { name.to_owned() } else { format!("profile {name}") },
        ),
    ];
    for (variable, file, section) in places {
        let named = env(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
        let path =
            named.clone().or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".aws").join(file)));
        let Some(path) = path else { continue };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // Without AWS_PROFILE, an unreadable home directory is skipped.
            Err(_) if named.is_none() => continue,
            Err(e) => return Err(format!("{}: {e}", path.display())),
        };
        let value = |key: &str| value_of(&text, &section, key);
        let keys = (value("aws_access_key_id"), value("aws_secret_access_key"));
        if let Some(keys) = pair(&path.display().to_string(), keys.0, keys.1, value("aws_session_token"))? {
            return Ok(Some(keys));
        }
    }
    match profile {
        Some(name) => Err(format!("AWS_PROFILE: the shared files have no keys of a profile {name}")),
        None => Ok(None),
    }
}

/// One value of an INI file.
fn value_of(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            inside = name.split_whitespace().eq(section.split_whitespace());
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((name, value)) = line.split_once('=')
            && name.trim().eq_ignore_ascii_case(key)
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    fn now() -> Utc {
        Utc::parse("2026-11-25T12:00:00Z").unwrap()
    }

    fn keys(given: &[(&str, &str)]) -> Result<Keys, String> {
        let map: BTreeMap<&str, &str> = given.iter().copied().collect();
        Chain::default().keys(now(), &|name| map.get(name).map(|v| (*v).to_owned()))
    }

    /// A metadata service: answers `count` requests, each by its request line and headers.
    fn service(count: usize, answer: fn(&str, &str) -> String) -> (String, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            for _ in 0..count {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let head: Vec<String> = lines.take_while(|l| !l.is_empty()).collect();
                let body = answer(&head[0], &head[1..].join("\n").to_lowercase());
                let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
            }
        });
        (at, serving)
    }

    const ROLE: &str = r#"{"Code":"Success","AccessKeyId":"AR","SecretAccessKey":"SR","Token":"T","Expiration":"2026-11-25T18:00:00Z"}"#;

    #[test]
    fn the_environment_comes_first_and_needs_both() {
        let found =
            keys(&[("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S"), ("AWS_SESSION_TOKEN", "T")]);
        let found = found.unwrap();
        assert_eq!(
            (&*found.access_key, &*found.secret_key, found.session_token.as_deref()),
            ("A", "S", Some("T"))
        );
        assert!(keys(&[("AWS_ACCESS_KEY_ID", "A")]).unwrap_err().contains("belong together"));
    }

    #[test]
    fn profiles_of_the_shared_files() {
        let dir = std::env::temp_dir().join(format!("branchline-keys-{}", std::process::id()));
        std::fs::create_dir_all(dir.join(".aws")).unwrap();
        std::fs::write(
            dir.join(".aws/credentials"),
            "# keys\n[default]\naws_access_key_id = AD\naws_secret_access_key=SD==\n[half]\naws_access_key_id=H\n",
        )
        .unwrap();
        std::fs::write(
            dir.join(".aws/config"),
            "[profile  branch]\n;aws_access_key_id=X\nAWS_ACCESS_KEY_ID=AB\naws_secret_access_key=SB\n",
        )
        .unwrap();
        let home = ("HOME", dir.to_str().unwrap());
        assert_eq!(keys(&[home]).unwrap().secret_key, "SD==");
        assert_eq!(keys(&[home, ("AWS_PROFILE", "branch")]).unwrap().access_key, "AB");
        assert!(keys(&[home, ("AWS_PROFILE", "half")]).unwrap_err().contains("belong together"));
        assert!(keys(&[home, ("AWS_PROFILE", "none")]).unwrap_err().contains("profile none"));
        let missing = keys(&[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")]).unwrap_err();
        assert!(missing.starts_with("/nowhere/credentials: "), "{missing}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_role_of_a_container() {
        let (at, serving) = service(1, |line, headers| {
            assert_eq!(line, "GET /role HTTP/1.1");
            assert!(headers.contains("authorization: hush"), "{headers}");
            ROLE.to_owned()
        });
        let url = format!("{at}/role");
        let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str());
        let found = keys(&[full, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush")]).unwrap();
        assert_eq!((&*found.access_key, found.session_token.as_deref()), ("AR", Some("T")));
        serving.join().unwrap();
        let far = keys(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/role")]).unwrap_err();
        assert!(far.contains("https, or http to loopback"), "{far}");
    }

    #[test]
    fn the_role_of_a_machine_is_asked_for_once_while_it_lasts() {
        let (at, serving) = service(6, |line, headers| {
            if line.starts_with("PUT /latest/api/token ") {
                assert!(headers.contains("x-aws-ec2-metadata-token-ttl-seconds: 21600"), "{headers}");
                return "session".to_owned();
            }
            assert!(headers.contains("x-aws-ec2-metadata-token: session"), "{headers}");
            match line {
                "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" => "branch-role".to_owned(),
                "GET /latest/meta-data/iam/security-credentials/branch-role HTTP/1.1" => ROLE.to_owned(),
                _ => String::new(),
            }
        });
        let env = |name: &str| (name == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| at.clone());
        let chain = Chain::default();
        for hours in [0, 1, 5] {
            let found = chain.keys(Utc(now().0 + Duration::from_secs(hours * 3600)), &env).unwrap();
            assert_eq!(found.secret_key, "SR");
        }
        // It is renewed four minutes before it expires.
        chain.keys(Utc(now().0 + Duration::from_secs(6 * 3600 - 240)), &env).unwrap();
        serving.join().unwrap();
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = keys(&[("AWS_EC2_METADATA_DISABLED", "true")]).unwrap_err();
        assert!(none.starts_with("no S3 credentials"), "{none}");
        assert_eq!(lent("{\"Code\":\"Failed\",\"Message\":\"no role\"}"), Err("no role".to_owned()));
        assert!(!lent("SECRET").unwrap_err().contains("SECRET"));
    }
}
