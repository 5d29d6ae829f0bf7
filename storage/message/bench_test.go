package message

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// letter makes a mail of about the given size: headers as mail servers leave them, a text, an HTML text and an
// attachment.
func letter(size int) string {
	var b strings.Builder
	for range 6 {
		b.WriteString("Received: from mail.example.org (mail.example.org [192.0.2.1])\n\tby mx.example.net (Postfix) with ESMTPS id 4ABCDEF\n\tfor <joe@example.net>; Thu, 1 Jan 2026 10:00:00 +0100 (CET)\n")
	}
	b.WriteString("Date: Thu, 1 Jan 2026 10:00:00 +0100\nFrom: Alice <alice@example.org>\nTo: Joe <joe@example.net>, Bob <bob@example.net>\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\n")
	b.WriteString("Content-Type: multipart/mixed; boundary=\"outer-boundary-1\"\n\n--outer-boundary-1\nContent-Type: multipart/alternative; boundary=\"inner-boundary-2\"\n\n")
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, and so on and on.\n", 40)
	b.WriteString("--inner-boundary-2\nContent-Type: text/plain; charset=utf-8\n\n" + text)
	b.WriteString("--inner-boundary-2\nContent-Type: text/html; charset=utf-8\n\n" + text + "--inner-boundary-2--\n\n")
	b.WriteString("--outer-boundary-1\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=a.pdf\n\n")
	for b.Len() < size {
		b.WriteString(strings.Repeat("QUJD", 19) + "\n")
	}
	b.WriteString("--outer-boundary-1--\n")
	return b.String()
}

func onDisk(b *testing.B, text string) *os.File {
	b.Helper()
	name := filepath.Join(b.TempDir(), "mail")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

func BenchmarkParse(b *testing.B) {
	for name, size := range map[string]int{"20KB": 20_000, "1MB": 1 << 20} {
		text := letter(size)
		for ends, in := range map[string]string{"LF": text, "CRLF": toWire(text)} {
			b.Run(name+"/"+ends+"/memory", func(b *testing.B) { parseLoop(b, Bytes(in), len(in)) })
			b.Run(name+"/"+ends+"/file", func(b *testing.B) { parseLoop(b, onDisk(b, in), len(in)) })
		}
	}
}

func parseLoop(b *testing.B, src io.ReaderAt, size int) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(src, int64(size), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnvelope(b *testing.B) {
	in := Bytes(letter(20_000))
	m, err := Parse(in, int64(len(in)), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		h, err := m.HeaderOf(in, m.Root)
		if err != nil {
			b.Fatal(err)
		}
		h.Envelope()
	}
}

func BenchmarkCopyTo(b *testing.B) {
	text := letter(1 << 20)
	for ends, in := range map[string]string{"LF": text, "CRLF": toWire(text)} {
		b.Run(ends, func(b *testing.B) {
			f := onDisk(b, in)
			p, err := Whole(f, int64(len(in)))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(p.Size())
			b.ReportAllocs()
			for b.Loop() {
				if err := p.CopyTo(io.Discard, f, 0, math.MaxInt64); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBodyHas(b *testing.B) {
	in := Bytes("Subject: x\n\n" + strings.Repeat("The quick brown fox jumps over the lazy dog, and so on and on.\n", 16_000))
	m, err := Parse(in, int64(len(in)), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	n := NewNeedle("not in there")
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := m.BodyHas(in, n); err != nil {
			b.Fatal(err)
		}
	}
}
