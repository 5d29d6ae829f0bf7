package dit

import (
	"strings"
	"testing"
)

var assertions = []struct{ in, want string }{
	{`{ serialNumber 7, issuer rdnSequence:"CN=A,O=B" }`, "7$cn=a,o=b"},
	{`{ serialNumber 0007 , issuer "cn=a, o=b" }`, "7$cn=a,o=b"},
	{`{issuer rdnSequence:"cn=a",serialNumber 7}`, "7$cn=a"},
	{`{ serialNumber 7, issuer rdnSequence:"cn=a ""b"" c" }`, ""}, // a quote in a name is escaped
	{`{ serialNumber 7, issuer rdnSequence:"cn=a }`, ""},
	{`{ serialNumber 7 }`, ""},
	{`{ serialNumber 7, serialNumber 7 }`, ""},
	{`{ serialNumber x, issuer "cn=a" }`, ""},
	{`{ serialNumber 7, issuer "cn=a" } more`, ""},
	{`{ serialNumber 7, issuer "cn=a", more }`, ""},
	{`{ serialNumber 7, issuer "" }`, ""},
	{`{ serialNumber ` + strings.Repeat("1", 61) + `, issuer "cn=a" }`, ""},
	{`{}`, ""},
}

func TestCertificateAssertion(t *testing.T) {
	t.Parallel()
	for _, tt := range assertions {
		got, ok := loadCatalog().certificateAssertion(tt.in)
		if ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.in, got, ok, tt.want)
		}
	}
}

// Neither an assertion nor something that should be a certificate brings the server down.
func FuzzCertificateForms(f *testing.F) {
	for _, tt := range assertions {
		f.Add(tt.in)
	}
	f.Add("\x30\x03\x02\x01\x00")
	f.Fuzz(func(t *testing.T, s string) {
		c := loadCatalog()
		if form, ok := normCertificate(c, s); ok && form == "" && s != "" {
			t.Errorf("%q has an empty form", s)
		}
	})
}
