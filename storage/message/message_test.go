package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// shape writes a tree on one line: type, body octets and lines, children in parentheses.
func shape(p *Part) string {
	s := fmt.Sprintf("%s/%s %d/%d", p.Type, p.Subtype, p.Size(), p.Lines())
	if p.Message != nil {
		s += " [" + shape(p.Message) + "]"
	}
	if p.Parts != nil {
		var kids []string
		for _, c := range p.Parts {
			kids = append(kids, shape(c))
		}
		s += " (" + strings.Join(kids, ", ") + ")"
	}
	return s
}

// toWire is the slow and obvious form of what goes out.
func toWire(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

type parseTest struct {
	name string
	in   string // with LF; the test also runs it with CRLF
	want string
}

var parseTests = []parseTest{
	{"no header at all", "\nhello\n", "text/plain 7/1"},
	{"header only, no empty line", "Subject: x\n", "text/plain 0/0"},
	{"empty message", "", "text/plain 0/0"},
	{"body without line end", "A: b\n\nx", "text/plain 1/0"},
	{"content type missing", "A: b\n\nx\n", "text/plain 3/1"},
	{"content type unreadable, RFC 2045 5.2", "Content-Type: ;;;\n\nx\n", "text/plain 3/1"},
	{"content type without subtype", "Content-Type: text\n\nx\n", "text/plain 3/1"},
	{"first content type counts", "Content-Type: text/html\nContent-Type: image/png\n\nx\n", "text/html 3/1"},
	{"multipart", mixed("a\n", "b\n"), "multipart/mixed 39/7 (text/plain 1/0, text/plain 1/0)"},
	{"closing boundary missing", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\na\n--b\n\nc\n", "multipart/mixed 20/6 (text/plain 1/0, text/plain 3/1)"},
	{"preamble and epilogue are nobody's", "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\na\n--b--\nepi\n", "multipart/mixed 27/6 (text/plain 1/0)"},
	{"no parts: one empty part", "Content-Type: multipart/mixed; boundary=b\n\njust text\n", "multipart/mixed 11/1 (text/plain 0/0)"},
	{"closed at once: one empty part", "Content-Type: multipart/mixed; boundary=b\n\n--b--\n", "multipart/mixed 7/1 (text/plain 0/0)"},
	{"no boundary parameter: text", "Content-Type: multipart/mixed\n\n--b\n\na\n", "text/plain 10/3"},
	{"empty boundary parameter: text", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\na\n", "text/plain 9/3"},
	{"boundary line with trailing blanks, RFC 2046 5.1.1", "Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\na\n--b-- \n", "multipart/mixed 20/4 (text/plain 1/0)"},
	{"longer line is no boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bx\n--b--\n", "multipart/mixed 20/4 (text/plain 4/0)"},
	{"part header ends at a boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\n--b--\n", "multipart/mixed 42/4 (text/html 0/0, text/plain 0/0)"},
	{"empty part bodies", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n\n\n--b--\n", "multipart/mixed 23/6 (text/plain 0/0, text/plain 0/0)"},
	{"nested", nested, "multipart/mixed 125/15 (multipart/alternative 50/7 (text/plain 1/0, text/html 1/0), text/plain 1/0)"},
	{"outer boundary closes the inner multipart", "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\na\n--o\n\nb\n--o--\n",
		"multipart/mixed 77/10 (multipart/mixed 8/2 (text/plain 1/0), text/plain 1/0)"},
	{"same boundary inside and outside: the inner one is nearer", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\na\n--b--\n--b\n\nc\n--b--\n",
		"multipart/mixed 84/11 (multipart/mixed 15/3 (text/plain 1/0), text/plain 1/0)"},
	{"message in a part", attached, "multipart/mixed 76/10 (text/plain 1/0, message/rfc822 20/2 [text/plain 5/0])"},
	{"digest parts are messages, RFC 2046 5.1.5", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: a\n\nx\n--b--\n", "multipart/digest 31/6 (message/rfc822 15/2 [text/plain 1/0])"},
	{"message with a multipart inside", "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n", "message/rfc822 62/6 [multipart/mixed 17/4 (text/plain 1/0)]"},
	{"encoded message is opaque", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdA==\n", "application/octet-stream 14/1"},
	{"encoded multipart is opaque", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\n--b--\n", "application/octet-stream 14/3"},
	{"mbox From line before the header", "From joe@example.org Thu Jan  1 00:00:00 2026\nContent-Type: text/html\n\nx\n", "text/html 3/1"},
	{"folded first line", " folded: x\nContent-Type: text/html\n\nx\n", "text/html 3/1"},
	{"header line without colon", "Subject: x\nno colon here\nContent-Type: text/html\n\nx\n", "text/html 3/1"},
	{"blanks before the colon, RFC 5322 4.5", "Content-Type : text/html\n\nx\n", "text/html 3/1"},
	{"folded content type", "Content-Type:\n multipart/mixed;\n\tboundary=\"b\"\n\n--b\n\na\n--b--\n", "multipart/mixed 17/4 (text/plain 1/0)"},
}

const nested = "Content-Type: multipart/mixed; boundary=o\n\n" +
	"--o\nContent-Type: multipart/alternative; boundary=i\n\n" +
	"--i\n\na\n--i\nContent-Type: text/html\n\nb\n--i--\n" +
	"--o\n\nc\n--o--\n"

const attached = "Content-Type: multipart/mixed; boundary=o\n\n" +
	"--o\n\na\n--o\nContent-Type: message/rfc822\n\nSubject: in\n\ninner\n--o--\n"

// mixed makes a multipart message of bodies that end in a line end.
func mixed(bodies ...string) string {
	s := "Content-Type: multipart/mixed; boundary=bound\n\n"
	for _, b := range bodies {
		s += "--bound\n\n" + b
	}
	return s + "--bound--\n"
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range parseTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, in := range []string{tt.in, toWire(tt.in)} {
				m, err := Parse(Bytes(in), int64(len(in)), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if got := shape(m.Root); got != tt.want {
					t.Errorf("shape of %q\n got %s\nwant %s", in, got, tt.want)
				}
				if got, want := m.WireSize(), int64(len(toWire(in))); got != want {
					t.Errorf("WireSize = %d, want %d", got, want)
				}
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	deep := ""
	for i := range 5 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	deep += "\nx\n"
	tests := []struct {
		name   string
		in     string
		limits Limits
		want   func(string) bool
	}{
		{"depth: the third level is opaque", deep, Limits{Depth: 2}, func(s string) bool {
			return strings.Count(s, "multipart") == 2 && strings.Contains(s, "(application/octet-stream ")
		}},
		{"parts: the rest is left as it is", mixed("a\n", "b\n", "c\n", "d\n"), Limits{Parts: 3}, func(s string) bool {
			return s == "multipart/mixed 67/13 (text/plain 1/0, text/plain 1/0)"
		}},
		{"header: a longer one is not looked at", "Content-Type: text/html\nX: " + strings.Repeat("x", 100) + "\n\nbody\n", Limits{HeaderBytes: 64},
			func(s string) bool { return s == "application/octet-stream 6/1" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse(Bytes(tt.in), int64(len(tt.in)), tt.limits)
			if err != nil {
				t.Fatal(err)
			}
			if got := shape(m.Root); !tt.want(got) {
				t.Errorf("shape = %s", got)
			}
		})
	}
}

// TestParseFile checks that reading in chunks finds what looking at the whole text finds, wherever a chunk ends.
func TestParseFile(t *testing.T) {
	t.Parallel()
	for _, tt := range parseTests {
		for pad := 0; pad < 40; pad++ {
			in := strings.Replace(tt.in, "\n\n", "\nX-Pad: "+strings.Repeat("p", 1900+pad)+"\n\n", 1)
			same(t, in, 2300)
			same(t, toWire(in), 2300)
		}
	}
	long := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("line of text\n", 30_000) + "--b\n\nx\n--b--\n"
	same(t, long, blockSize)
	same(t, toWire(long), blockSize)
	same(t, "X: "+strings.Repeat("y\n ", 1<<20)+"\n\nbody\n", 2300)
	same(t, "X: "+strings.Repeat("y", 2<<20), 2300) // ends in a header over the limit
}

// same parses in from memory and in chunks and wants the same tree.
func same(t *testing.T, in string, chunk int64) {
	t.Helper()
	whole, err := Parse(Bytes(in), int64(len(in)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(strings.NewReader(in), int64(len(in)))
	s.chunk = chunk
	parts, err := parse(s, Limits{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(whole, parts) {
		t.Errorf("in chunks of %d: %s\nwhole: %s\nof %.200q", chunk, shape(parts.Root), shape(whole.Root), in)
	}
}

func TestParseShortFile(t *testing.T) {
	t.Parallel()
	if _, err := Parse(strings.NewReader("A: b\n\nx"), 100, Limits{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("err = %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestPartFacts(t *testing.T) {
	t.Parallel()
	in := "Content-Type: TEXT/HTML; Charset=\"UTF-8\"; name*0*=utf-8''a%20; name*1=b (comment; here=1); charset=other\n" +
		"Content-Transfer-Encoding: Quoted-Printable (yes)\n" +
		"Content-ID: <id@example.org>\nContent-Description: a\n folded text\nContent-MD5: Q2hlY2s=\n" +
		"Content-Disposition: Attachment; filename=\"with \\\"quotes\\\".txt\"; size=12\n" +
		"Content-Language: en, de (German), fr\nContent-Location: http://example.org/\n  a/b\n\nx\n"
	m, err := Parse(Bytes(in), int64(len(in)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := *m.Root
	got.Start, got.Body, got.End = Pos{}, Pos{}, Pos{}
	want := Part{
		Type: "text", Subtype: "html",
		Params:      []Param{{"charset", "UTF-8"}, {"name*0*", "utf-8''a%20"}, {"name*1", "b"}},
		ID:          "<id@example.org>",
		Description: "a folded text",
		Location:    "http://example.org/a/b",
		MD5:         "Q2hlY2s=",
		Encoding:    "quoted-printable",
		Disposition: "attachment",
		DispParams:  []Param{{"filename", `with "quotes".txt`}, {"size", "12"}},
		Language:    []string{"en", "de", "fr"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("facts\n got %+v\nwant %+v", got, want)
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     []Param
	}{
		{"quotes forgotten", "application/pdf; name=My file.pdf; x=1", []Param{{"name", "My file.pdf"}, {"x", "1"}}},
		{"quote not closed", `text/plain; name="a;b`, []Param{{"name", "a;b"}}},
		{"no value", "text/plain; a; b=; =c; d=e", []Param{{"b", ""}, {"d", "e"}}},
		{"blanks around the sign", "text/plain ; a = b ;c= \"d\"", []Param{{"a", "b"}, {"c", "d"}}},
		{"nested comment", "text/plain; a=b (x (y;z=1) w); c=d", []Param{{"a", "b"}, {"c", "d"}}},
		{"comment not closed", "text/plain; a=b (x; c=d", []Param{{"a", "b"}}},
		{"slash in a value", "text/plain; a=b/c; d=e", []Param{{"a", "b/c"}, {"d", "e"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, _, got, _ := parseType(tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("parameters of %q = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range parseTests {
		f.Add([]byte(tt.in))
		f.Add([]byte(toWire(tt.in)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		limits := Limits{Depth: 5, Parts: 20, HeaderBytes: 500}
		m, err := Parse(Bytes(in), int64(len(in)), limits)
		if err != nil {
			t.Fatal(err)
		}
		checkPart(t, in, m.Root, 0)
		if m.Root.Start != (Pos{}) || m.Root.End.Raw != int64(len(in)) {
			t.Fatalf("root is %v to %v of %d octets", m.Root.Start, m.Root.End, len(in))
		}
		s := newScanner(bytes.NewReader(in), int64(len(in)))
		s.chunk = 1
		chunks, err := parse(s, limits)
		if err != nil || !reflect.DeepEqual(m, chunks) {
			t.Fatalf("in chunks: %v, %s; whole: %s", err, shape(chunks.Root), shape(m.Root))
		}
		wire := []byte(toWire(string(in)))
		w, err := Parse(Bytes(wire), int64(len(wire)), Limits{Depth: 5, Parts: 20, HeaderBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if w.WireSize() != m.WireSize() || w.WireSize() != int64(len(wire)) {
			t.Fatalf("wire size %d from LF, %d from CRLF, want %d", m.WireSize(), w.WireSize(), len(wire))
		}
	})
}

// checkPart checks the counts of a part against counting anew, and that children lie inside.
func checkPart(t *testing.T, in []byte, p *Part, depth int) {
	t.Helper()
	for _, pos := range []Pos{p.Start, p.Body, p.End} {
		before := string(in[:pos.Raw])
		bare := strings.Count(before, "\n") - strings.Count(before, "\r\n")
		if pos.Wire != pos.Raw+int64(bare) || pos.Line != int64(strings.Count(before, "\n")) {
			t.Fatalf("position %+v is wrong", pos)
		}
	}
	if p.Start.Raw > p.Body.Raw || p.Body.Raw > p.End.Raw || depth > 12 {
		t.Fatalf("part from %v over %v to %v at depth %d", p.Start, p.Body, p.End, depth)
	}
	if p.Type == "multipart" && len(p.Parts) == 0 {
		t.Fatalf("multipart without parts at %v", p.Start)
	}
	at := p.Body.Raw
	for _, c := range p.Parts {
		if c.Start.Raw < at || c.End.Raw > p.End.Raw {
			t.Fatalf("part %v to %v lies outside of %v to %v", c.Start, c.End, p.Body, p.End)
		}
		at = c.End.Raw
		checkPart(t, in, c, depth+1)
	}
	if p.Message != nil {
		if p.Message.Start != p.Body || p.Message.End != p.End {
			t.Fatalf("message %v to %v does not fill %v to %v", p.Message.Start, p.Message.End, p.Body, p.End)
		}
		checkPart(t, in, p.Message, depth+1)
	}
}
