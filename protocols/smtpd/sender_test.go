package smtpd

import (
	"errors"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory"
)

var senders = []struct {
	name, in, want string
	err            error
}{
	{"plain", "Joe@Example.ORG", "Joe@example.org", nil},
	{"null", "", "", nil},
	{"dots anywhere, as a Japanese carrier has them", "a..b.@example.ne.jp", "a..b.@example.ne.jp", nil},
	{"host names with underscores", "bounce@em_1.example.org", "bounce@em_1.example.org", nil},
	{"long local parts of bounce addresses", strings.Repeat("b", 100) + "@example.org", strings.Repeat("b", 100) + "@example.org", nil},
	{"longer than any", strings.Repeat("b", 129) + "@example.org", "", replyNoSender},
	{"an @ that was quoted", "a@b@example.org", "", replyNoSender},
	{"a space that was quoted", "a b@example.org", "", replyNoSender},
	{"a parameter that was quoted", "q> NOTIFY=NEVER@example.org", "", replyNoSender},
	{"no domain", "joe@", "", replyNoSender},
	{"no local part", "@example.org", "", replyNoSender},
	{"an address literal", "joe@[192.0.2.1]", "", replyNoSender},
	{"not ASCII", "jö@example.org", "", replyASCII},
	{"a domain that is not ASCII", "joe@exämple.org", "", replyASCII},
	{"a control", "jo\x01e@example.org", "", replyASCII},
}

func TestParseSender(t *testing.T) {
	t.Parallel()
	for _, tt := range senders {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseSender(tt.in)
			if !errors.Is(err, tt.err) || err == nil && got.String() != tt.want {
				t.Errorf("got %v, %v; want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// FuzzSender: what is not refused has nothing in it that could end the angle brackets it is written between.
func FuzzSender(f *testing.F) {
	for _, tt := range senders {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := parseSender(in)
		if err != nil || got.IsZero() {
			return
		}
		if strings.ContainsAny(got.String(), " \t\r\n<>\"\\()[],:;\x00") || strings.Count(got.String(), "@") != 1 {
			t.Errorf("%q: got %q", in, got)
		}
		if len(got.Domain) > directory.MaxDomain {
			t.Errorf("%q: got a domain of %d octets", in, len(got.Domain))
		}
	})
}
