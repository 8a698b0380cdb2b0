//! Responses of S3 servers: headers and XML.

use serde::Deserialize;

use crate::delivery::events::shown_url;

/// Longest error text passed on, characters.
const MAX_ERROR: usize = 200;

/// A server's response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// ETag of the object.
    pub etag: Option<String>,
    /// Size of the object; only for `HEAD`.
    pub length: Option<u64>,
    /// `Location`.
    pub location: Option<String>,
    /// `x-amz-bucket-region`.
    pub region: Option<String>,
    /// `Date`.
    pub date: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// Its body.
    pub text: String,
}

/// An S3 error.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "Error", rename_all = "PascalCase", default)]
pub struct Refusal {
    /// Error code, e.g. `NoSuchBucket`.
    pub code: String,
    /// Error message.
    pub message: String,
    /// Region of the bucket, if the error is about that.
    pub region: String,
    /// Endpoint of the bucket, if the error is about that.
    pub endpoint: String,
}

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Part {
    /// Part number, from 1.
    pub part_number: u32,
    /// Its ETag.
    #[serde(rename = "ETag")]
    pub etag: String,
    /// Size, bytes.
    pub size: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Parts {
    #[serde(rename = "Part")]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated {
    upload_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Completed {
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

/// The error in a response body, if any.
#[must_use]
pub fn refusal(text: &str) -> Option<Refusal> {
    // S3 may send white space to keep the connection alive before the XML.
    let refusal: Refusal = text.contains("<Error").then(|| quick_xml::de::from_str(text.trim()).ok())??;
    (!refusal.code.is_empty()).then_some(refusal)
}

/// The id of a started multipart upload.
#[must_use]
pub fn upload_id(text: &str) -> Option<String> {
    let found: Initiated = quick_xml::de::from_str(text).ok()?;
    Some(found.upload_id).filter(|id| !id.is_empty() && id.len() <= 2048)
}

/// The parts the server lists.
#[must_use]
pub fn parts(text: &str) -> Option<Vec<Part>> {
    quick_xml::de::from_str::<Parts>(text).ok().map(|p| p.parts)
}

/// The ETag of a completed multipart upload, if given; the outer `None`: the response is incomplete.
#[must_use]
pub fn completed(text: &str) -> Option<Option<String>> {
    let said = text.contains("<CompleteMultipartUploadResult");
    let told: Completed = said.then(|| quick_xml::de::from_str(text.trim()).ok())??;
    Some(told.etag.map(|etag| bare(&etag)).filter(|etag| !etag.is_empty()))
}

/// The CompleteMultipartUpload request for these ETags.
#[must_use]
pub fn complete_order(etags: &[String]) -> String {
    let part = |(at, etag): (usize, &String)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>", at + 1)
    };
    let parts: String = etags.iter().enumerate().map(part).collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    )
}

/// An ETag without quotes; anything but letters, digits and hyphens is removed.
#[must_use]
pub fn bare(etag: &str) -> String {
    etag.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(128).collect()
}

/// Error text for a response.
#[must_use]
pub fn explain(told: &Answer) -> String {
    let status = told.status;
    let said = match refusal(&told.text) {
        Some(r) if !r.endpoint.is_empty() => {
            format!("{status} {}: {} (the bucket is at {})", r.code, r.message, r.endpoint)
        }
        Some(r) => format!("{status} {}: {}", r.code, r.message),
        None if (300..400).contains(&status) && told.location.is_some() => {
            let to = told.location.as_deref().unwrap_or_default();
            format!("it answered {status} and leads to {}", shown_url(to))
        }
        None if told.text.trim().is_empty() => format!("it answered {status}"),
        None => format!("it answered {status} and something that is not of S3"),
    };
    said.chars().filter(|c| !c.is_control()).take(MAX_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(status: u16, text: &str) -> String {
        super::explain(&Answer { status, text: text.to_owned(), ..Answer::default() })
    }

    #[test]
    fn errors_are_told_in_few_words() {
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchBucket</Code><Message>The specified bucket \
                   does not exist</Message><BucketName>x</BucketName><RequestId>1</RequestId></Error>";
        assert_eq!(explain(404, xml), "404 NoSuchBucket: The specified bucket does not exist");
        assert_eq!(explain(503, ""), "it answered 503");
        assert_eq!(explain(200, "<html>hello"), "it answered 200 and something that is not of S3");
        assert_eq!(
            explain(500, &format!("<Error><Code>X</Code><Message>{}\0</Message></Error>", "y".repeat(999)))
                .len(),
            MAX_ERROR
        );
        assert_eq!(refusal("<Error><Code/></Error>"), None);
        let late = format!("\n {}{}", "  \n".repeat(99), xml);
        assert_eq!(refusal(&late).unwrap().code, "NoSuchBucket");
        let moved = Answer {
            status: 302,
            location: Some("http://u:p@portal/login?token=1".to_owned()),
            text: "<html>".to_owned(),
            ..Answer::default()
        };
        assert_eq!(super::explain(&moved), "it answered 302 and leads to http://portal/login");
    }

    #[test]
    fn uploads_in_parts() {
        let begun = "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket>\
                     <Key>k</Key><UploadId>VXBs~b2Fk</UploadId></InitiateMultipartUploadResult>";
        assert_eq!(upload_id(begun).as_deref(), Some("VXBs~b2Fk"));
        assert_eq!(upload_id("<html></html>"), None);
        let list = "<ListPartsResult><Bucket>b</Bucket><Part><PartNumber>1</PartNumber><LastModified>x</LastModified>\
                    <ETag>\"aa\"</ETag><Size>5</Size></Part><Part><PartNumber>3</PartNumber><ETag>&quot;bb&quot;</ETag>\
                    <Size>6</Size></Part><MaxParts>1000</MaxParts></ListPartsResult>";
        let found = parts(list).unwrap();
        assert_eq!(
            found.iter().map(|p| (p.part_number, bare(&p.etag), p.size)).collect::<Vec<_>>(),
            [(1, "aa".to_owned(), 5), (3, "bb".to_owned(), 6)]
        );
        assert_eq!(parts("<ListPartsResult/>"), Some(Vec::new()));
        let done = "<CompleteMultipartUploadResult><Location>l</Location><ETag>\"3858f62230ac3c915f300c664312c11f-9\"</ETag>\
                    </CompleteMultipartUploadResult>";
        assert_eq!(completed(done), Some(Some("3858f62230ac3c915f300c664312c11f-9".to_owned())));
        assert_eq!(
            completed("<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>"),
            Some(None)
        );
        for cut in ["", " ", &done[..40], &done[..done.len() - 5], "<html></html>"] {
            assert_eq!(completed(cut), None, "{cut}");
        }
        assert_eq!(completed("<Error><Code>InternalError</Code></Error>"), None);
        let order = complete_order(&["aa".to_owned(), "bb".to_owned()]);
        assert!(order.contains("<PartNumber>2</PartNumber><ETag>&quot;bb&quot;</ETag>"), "{order}");
    }
}
