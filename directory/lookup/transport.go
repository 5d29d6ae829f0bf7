package lookup

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/schema"
)

// transportOf returns dpTransport, empty for local.
func transportOf(e *ldap.Entry) string {
	if t := value(e, schema.AttrDpTransport); !strings.EqualFold(t, "local") {
		return t
	}
	return ""
}

// elsewhere returns the next hop of an entry whose mail is not filed here, or nothing. A transport counts before the host:
// local is here, whatever host is named.
func (q question) elsewhere(e *ldap.Entry) string {
	if value(e, schema.AttrDpTransport) != "" {
		return transportOf(e)
	}
	if host := value(e, schema.AttrMailHost); host != "" && !strings.EqualFold(host, q.opts.Node) {
		return "smtp:" + host + ":25"
	}
	return ""
}

const errorTransport = "error:"

// refused reports whether a transport is error:CODE TEXT, which takes no mail.
func refused(transport string) bool {
	return len(transport) >= len(errorTransport) && strings.EqualFold(transport[:len(errorTransport)], errorTransport)
}

// refusalText is CODE, an enhanced code (RFC 3463) if there is one, and TEXT in printable ASCII.
var refusalText = regexp.MustCompile(`^([45][0-9]{2})(?: ([45]\.[0-9]{1,3}\.[0-9]{1,3}))?(?: ([ -~]{1,400}))?$`)

// refusal returns the answer that an error transport gives. One that says nothing useful refuses for good.
func refusal(transport string) error {
	r := directory.Refusal{Code: 550, Text: "address does not take mail"}
	if m := refusalText.FindStringSubmatch(strings.TrimSpace(transport[len(errorTransport):])); m != nil {
		r.Code, _ = strconv.Atoi(m[1])
		r.Enhanced = m[2]
		if m[3] != "" {
			r.Text = m[3]
		}
	}
	if r.Enhanced == "" || r.Enhanced[0] != strconv.Itoa(r.Code)[0] {
		r.Enhanced = fmt.Sprintf("%d.2.0", r.Code/100)
	}
	return r
}
