//! Playlists: a channel's entry in the relay's own playlist, and an existing playlist whose groups
//! are rewritten to point to the relay.

use std::{fmt::Write as _, path::Path};

use crate::limits::PLAYLIST_BYTES_MAX;
use tidecast_net::address::{Input, Scheme, is_class_d, udpxy};

/// How players show a channel. An absent value is derived from its name, or left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// `tvg-id`: the channel's id in the programme guide.
    pub id: Option<String>,
    /// `tvg-name`, and the title.
    pub name: Option<String>,
    /// `tvg-logo`: the URL of an image.
    pub logo: Option<String>,
    /// `group-title`
    pub group: Option<String>,
    /// `tvg-chno`: the number on the remote control.
    pub number: Option<u32>,
}

impl Shown {
    /// Returns the line before the channel's address.
    pub fn line(&self, channel: &str) -> String {
        let id = self.id.as_deref().unwrap_or(channel);
        let name = self.name.as_deref().unwrap_or(channel);
        let mut line = format!("#EXTINF:-1 tvg-id=\"{id}\" tvg-name=\"{name}\"");
        let number = self.number.map(|number| number.to_string());
        let more = [
            ("tvg-chno", number.as_ref()),
            ("tvg-logo", self.logo.as_ref()),
            ("group-title", self.group.as_ref()),
        ];
        for (key, value) in more {
            if let Some(value) = value {
                let _ = write!(line, " {key}=\"{value}\""); // a String takes all
            }
        }
        line + "," + name
    }
}

/// Checks an attribute of a playlist: a quote or a line break would end it.
///
/// # Errors
/// The expected form.
pub(super) fn attribute(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('"') || text.contains(char::is_control) {
        return Err("expected text without quotes (\") and line breaks".to_owned());
    }
    Ok(text.to_owned())
}

/// An existing playlist that was written for other programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The first line, which may name the programme guide (`url-tvg`, `x-tvg-url`).
    head: String,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// Text that is copied unchanged.
    Text(String),
    /// The address of a group, which is rewritten to point to the relay.
    Group(Input),
}

impl Imported {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is too long, or is not a playlist.
    pub(super) fn read(path: &str, base: Option<&Path>) -> Result<Imported, String> {
        let path = base.map_or_else(|| path.into(), |base| base.join(path));
        let expected = "expected an M3U playlist";
        let failed = |error| format!("{} cannot be read: {error}, {expected}", path.display());
        let length = std::fs::metadata(&path).map_err(failed)?;
        if !length.is_file() || length.len() > PLAYLIST_BYTES_MAX as u64 {
            let what = if length.is_file() { "is too long" } else { "is no file" };
            return Err(format!(
                "{} {what}, {expected} of at most {PLAYLIST_BYTES_MAX} bytes",
                path.display()
            ));
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        let imported = Imported::parse(&String::from_utf8_lossy(&bytes));
        if imported.groups().next().is_none() {
            let path = path.display();
            return Err(format!("{path} has no multicast address such as udp://@239.1.1.1:5000, {expected}"));
        }
        Ok(imported)
    }

    fn parse(text: &str) -> Imported {
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_end).peekable();
        let head = lines.next_if(|line| line.starts_with("#EXTM3U")).unwrap_or("#EXTM3U").to_owned();
        let line = |line: &str| match group(line) {
            Some(input) => Line::Group(input),
            None => Line::Text(line.to_owned()),
        };
        Imported { head, lines: lines.filter(|line| !line.is_empty()).map(line).collect() }
    }

    /// Returns the groups in it.
    pub fn groups(&self) -> impl Iterator<Item = &Input> {
        self.lines.iter().filter_map(|line| match line {
            Line::Group(input) => Some(input),
            Line::Text(_) => None,
        })
    }

    /// Returns the first line for a playlist that contains this one.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Writes its entries. `address`: of a group at this server; without one, its entry is left
    /// out, with the lines that describe it.
    pub fn write(&self, address: impl Fn(&Input) -> Option<String>, out: &mut String) {
        let mut begun = Vec::new();
        for line in &self.lines {
            let address = match line {
                Line::Text(text) if text.starts_with('#') => {
                    begun.push(text.as_str());
                    continue;
                }
                Line::Text(text) => Some(text.clone()),
                Line::Group(input) => address(input),
            };
            for text in begun.drain(..).filter(|_| address.is_some()).chain(address.as_deref()) {
                out.push_str(text);
                out.push('\n');
            }
        }
        begun.iter().for_each(|text| *out += &format!("{text}\n"));
    }
}

/// Returns the group that a line of a playlist names: `udp://@239.1.1.1:5000`,
/// `rtp://10.0.0.5@232.1.1.1:5000?...`
fn group(line: &str) -> Option<Input> {
    let (scheme, address) = line.trim().split_once("://")?;
    let scheme = scheme.parse().ok().filter(|scheme| *scheme != Scheme::Rist)?;
    let address = address.split(['?', '#', '|']).next()?;
    let input = udpxy::parse(scheme, address).ok()?;
    is_class_d(input.group).then_some(Input { interface: None, ..input })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_asked_of_this_server_and_all_else_stays() {
        let text = "\u{feff}#EXTM3U url-tvg=\"http://epg.example/guide.xml.gz\" x-tvg-url=\"http://epg.example/2.xml\"\r\n\
                    #EXTINF:-1 tvg-id=\"news\" tvg-logo=\"http://logos.example/n.png\" group-title=\"Info\",News, 24 h\r\n\
                    #EXTVLCOPT:network-caching=1000\r\n\
                    udp://@239.1.1.1:5000\r\n\r\n\
                    #EXTINF:-1,Sport\nrtp://10.0.0.5@232.1.1.1:5002?fcc=10.0.0.1:8027\n\
                    #EXTINF:-1,Six\nrtp://@[ff15::1]:5004\n\
                    #EXTINF:-1,Host\nudp://@10.0.0.9:5000\n\
                    #EXTINF:-1,Other\nhttp://elsewhere.example/live.ts\n";
        let imported = Imported::parse(text);
        assert_eq!(
            imported.head(),
            "#EXTM3U url-tvg=\"http://epg.example/guide.xml.gz\" x-tvg-url=\"http://epg.example/2.xml\""
        );
        let mut out = String::new();
        imported.write(|input| Some(format!("http://relay:8080{}", udpxy::path(input))), &mut out);
        let expected = "#EXTINF:-1 tvg-id=\"news\" tvg-logo=\"http://logos.example/n.png\" group-title=\"Info\",News, 24 h\n\
                        #EXTVLCOPT:network-caching=1000\n\
                        http://relay:8080/udp/239.1.1.1:5000\n\
                        #EXTINF:-1,Sport\nhttp://relay:8080/rtp/10.0.0.5@232.1.1.1:5002\n\
                        #EXTINF:-1,Six\nhttp://relay:8080/rtp/[ff15::1]:5004\n\
                        #EXTINF:-1,Host\nudp://@10.0.0.9:5000\n\
                        #EXTINF:-1,Other\nhttp://elsewhere.example/live.ts\n";
        assert_eq!(out, expected);
        assert_eq!(imported.groups().count(), 3);
        let mut out = String::new();
        imported.write(
            |input| (input.group == "232.1.1.1".parse::<std::net::IpAddr>().unwrap()).then(|| "X".to_owned()),
            &mut out,
        );
        let expected = "#EXTINF:-1,Sport\nX\n#EXTINF:-1,Host\nudp://@10.0.0.9:5000\n\
                        #EXTINF:-1,Other\nhttp://elsewhere.example/live.ts\n";
        assert_eq!(out, expected, "without those that may not be watched");
        assert_eq!(Imported::parse("http://x/\n").head(), "#EXTM3U");
    }

    #[test]
    fn a_channel_is_shown_as_it_was_said() {
        assert_eq!(Shown::default().line("cam"), "#EXTINF:-1 tvg-id=\"cam\" tvg-name=\"cam\",cam");
        let shown = Shown {
            id: Some("news.example".to_owned()),
            name: Some("News, 24 h".to_owned()),
            logo: Some("http://logos.example/n.png".to_owned()),
            group: Some("Info".to_owned()),
            number: Some(7),
        };
        let line = "#EXTINF:-1 tvg-id=\"news.example\" tvg-name=\"News, 24 h\" tvg-chno=\"7\" \
                    tvg-logo=\"http://logos.example/n.png\" group-title=\"Info\",News, 24 h";
        assert_eq!(shown.line("cam"), line);
        for bad in ["", "a\"b", "a\nb"] {
            assert!(attribute(bad).is_err(), "{bad:?}");
        }
    }
}
