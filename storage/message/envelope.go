package message

import (
	"net/mail"
	"strings"
	"time"
)

// An Envelope is what ENVELOPE tells of a message (RFC 9051 section 7.5.2): values unfolded, nothing decoded. Sender
// and ReplyTo are those of From when the message has none.
type Envelope struct {
	Date, Subject         string
	From, Sender, ReplyTo []Address
	To, Cc, Bcc           []Address
	InReplyTo, MessageID  string
}

// Envelope reads the header of a message. Of fields that may come once the first counts; the addresses of several To,
// Cc and Bcc fields are joined.
func (h Header) Envelope() Envelope {
	var e Envelope
	text := func(to *string, f Field) {
		if *to == "" {
			*to = f.Value()
		}
	}
	once := func(to *[]Address, f Field) {
		if *to == nil {
			*to = ParseAddresses(f.Value())
		}
	}
	join := func(to *[]Address, f Field) { *to = append(*to, ParseAddresses(f.Value())...) }
	for f := range h.Fields() {
		switch {
		case f.Is("Date"):
			text(&e.Date, f)
		case f.Is("Subject"):
			text(&e.Subject, f)
		case f.Is("Message-ID"):
			text(&e.MessageID, f)
		case f.Is("In-Reply-To"):
			text(&e.InReplyTo, f)
		case f.Is("From"):
			once(&e.From, f)
		case f.Is("Sender"):
			once(&e.Sender, f)
		case f.Is("Reply-To"):
			once(&e.ReplyTo, f)
		case f.Is("To"):
			join(&e.To, f)
		case f.Is("Cc"):
			join(&e.Cc, f)
		case f.Is("Bcc"):
			join(&e.Bcc, f)
		}
	}
	if e.Sender == nil {
		e.Sender = e.From
	}
	if e.ReplyTo == nil {
		e.ReplyTo = e.From
	}
	return e
}

// The zones that RFC 5322 section 4.3 knows by name; others that are names count as +0000.
var zones = map[string]string{
	"UT": "+0000", "GMT": "+0000", "UTC": "+0000", "Z": "+0000",
	"EST": "-0500", "EDT": "-0400", "CST": "-0600", "CDT": "-0500",
	"MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700",
}

// ParseDate reads the value of a Date field (RFC 5322 sections 3.3 and 4.3). It is not ok when there is no date in it.
func ParseDate(value string) (time.Time, bool) {
	l := lexer{text: value}
	var words []string
	for len(words) < 10 { // a date has six at most
		if l.space(); l.i == len(l.text) {
			break
		}
		start := l.i
		for l.i < len(l.text) && l.text[l.i] != ' ' && l.text[l.i] != '\t' && l.text[l.i] != '(' {
			l.i++
		}
		words = append(words, l.text[start:l.i])
	}
	if len(words) == 0 {
		return time.Time{}, false
	}
	last := words[len(words)-1]
	if zone, ok := zones[strings.ToUpper(last)]; ok {
		words[len(words)-1] = zone
	} else if c := last[0]; c >= 'A' && c <= 'z' {
		words[len(words)-1] = "+0000"
	} else if strings.Contains(last, ":") {
		words = append(words, "+0000") // no zone at all
	}
	t, err := mail.ParseDate(strings.Join(words, " "))
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}
