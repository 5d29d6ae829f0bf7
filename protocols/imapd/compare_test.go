package imapd

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/google/go-cmp/cmp"

	"github.com/dirpost/dirpost/storage/message"
)

// wellFormed is mail about which everybody agrees.
var wellFormed = []string{
	"From: a@example.org\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n",
	"Subject: alternatives\r\nContent-Type: multipart/alternative; boundary=\"b c\"\r\n\r\npreamble\r\n--b c\r\nContent-Type: text/plain\r\n\r\nplain\r\n" +
		"--b c\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Language: de, en\r\n\r\n<p>=C3=BC</p>\r\n--b c--\r\nepilogue\r\n",
	"Subject: nested\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/related; boundary=i\r\n\r\n--i\r\nContent-Type: text/html\r\n\r\n<img>\r\n" +
		"--i\r\nContent-Type: image/png; name=a.png\r\nContent-ID: <1@x>\r\nContent-Transfer-Encoding: base64\r\nContent-Location: a.png\r\n\r\nAAAA\r\n--i--\r\n" +
		"--o\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"f.eml\"\r\n\r\nFrom: b@example.org\r\nSubject: inner\r\nContent-Type: text/plain\r\n\r\ninner text\r\n--o--\r\n",
}

// TestStructureAgrees wants our structure of well-formed mail to be that of the library's own reader.
func TestStructureAgrees(t *testing.T) {
	t.Parallel()
	for _, in := range wellFormed {
		src := message.Bytes(in)
		tree, err := message.Parse(src, int64(len(in)), message.Limits{})
		must(t, err)
		tx := text{src: src, size: int64(len(in)), tree: tree}
		got, err := tx.structure(tree.Root)
		must(t, err)
		want := imapserver.ExtractBodyStructure(strings.NewReader(in))
		normalize(got)
		normalize(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("structure of %.40q, - the library's, + ours\n%s", in, diff)
		}
	}
}

// normalize levels what the two may differ in: what is missing, and encodings that are left to their default.
func normalize(bs imap.BodyStructure) {
	bs.Walk(func(_ []int, part imap.BodyStructure) bool {
		switch p := part.(type) {
		case *imap.BodyStructureSinglePart:
			if p.Encoding == "" {
				p.Encoding = "7bit"
			}
			if p.Params == nil {
				p.Params = map[string]string{}
			}
			if p.MessageRFC822 != nil {
				p.MessageRFC822.Envelope = nil // decoded there, raw here
				normalize(p.MessageRFC822.BodyStructure)
			}
		}
		return true
	})
}

// TestSectionsAgree wants the same of every section.
func TestSectionsAgree(t *testing.T) {
	t.Parallel()
	sections := []*imap.FetchItemBodySection{
		{}, {Specifier: imap.PartSpecifierHeader}, {Specifier: imap.PartSpecifierText},
		{Partial: &imap.SectionPartial{Offset: 3, Size: 10}},
		{Specifier: imap.PartSpecifierText, Partial: &imap.SectionPartial{Offset: 2, Size: 1000}},
		{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Subject", "Content-Type"}},
		{Specifier: imap.PartSpecifierHeader, HeaderFieldsNot: []string{"Subject"}},
		{Part: []int{1}}, {Part: []int{1}, Specifier: imap.PartSpecifierMIME}, {Part: []int{2}}, {Part: []int{1, 2}}, {Part: []int{3}},
		{Part: []int{1, 2}, Specifier: imap.PartSpecifierMIME},
	}
	for _, in := range wellFormed {
		src := message.Bytes(in)
		for _, section := range sections {
			want := imapserver.ExtractBodySection(strings.NewReader(in), section)
			f := fetcher{options: &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}}
			tx := text{reader: &f, src: src, size: int64(len(in))}
			piece, err := f.piece(&tx, section)
			must(t, err)
			var got bytes.Buffer
			off, n := rangeOf(section.Partial)
			must(t, piece.CopyTo(&got, src, off, n))
			if got.String() != string(want) {
				t.Errorf("section %+v of %.40q\n got %q\nwant %q", *section, in, got.String(), want)
			}
		}
	}
}

// TestEnvelopeOfBadMail: what the library makes nothing of is shown as far as it can be read.
func TestEnvelopeOfBadMail(t *testing.T) {
	t.Parallel()
	h := message.Header("no colon\nSubject: gr\xfc\xdfe\nFrom: nobody, @example.org\nMessage-ID: bare@id\nDate: not a date\n\n")
	got := envelope(h.Envelope())
	from := []imap.Address{{Mailbox: "nobody", Host: missingHost}, {Mailbox: missingUser, Host: "example.org"}}
	want := &imap.Envelope{Subject: "grüße", From: from, Sender: from, ReplyTo: from, To: []imap.Address{}, Cc: []imap.Address{}, Bcc: []imap.Address{}, MessageID: "bare@id"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("envelope\n got %+v\nwant %+v", got, want)
	}
}
