package dit

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// A family groups the rules that may be applied to each other's attributes in an extensible match.
type family int

const (
	textFamily family = iota
	ia5Family
	dnFamily
	numberFamily
	timeFamily
	octetFamily
	otherFamily
)

// A matchingRule compares values by their normal forms: two values are equal when the forms are (RFC 4517 section 4).
type matchingRule struct {
	oid, name string
	syntax    string // of the assertion, shown in cn=Subschema
	family    family
	norm      func(c *catalog, v string) (form string, ok bool) // not ok = the value has not the syntax
	piece     func(v string) string                             // substring rules: the form of one piece, its ends kept
	order     func(a, b string) int                             // ordering rules: of two normal forms
}

const (
	syntaxText      = "1.3.6.1.4.1.1466.115.121.1.15"
	syntaxIA5       = "1.3.6.1.4.1.1466.115.121.1.26"
	syntaxDN        = "1.3.6.1.4.1.1466.115.121.1.12"
	syntaxOID       = "1.3.6.1.4.1.1466.115.121.1.38"
	syntaxInteger   = "1.3.6.1.4.1.1466.115.121.1.27"
	syntaxTime      = "1.3.6.1.4.1.1466.115.121.1.24"
	syntaxBoolean   = "1.3.6.1.4.1.1466.115.121.1.7"
	syntaxOctets    = "1.3.6.1.4.1.1466.115.121.1.40"
	syntaxBits      = "1.3.6.1.4.1.1466.115.121.1.6"
	syntaxNumeric   = "1.3.6.1.4.1.1466.115.121.1.36"
	syntaxTelephone = "1.3.6.1.4.1.1466.115.121.1.50"
	syntaxPostal    = "1.3.6.1.4.1.1466.115.121.1.41"
	syntaxSubstring = "1.3.6.1.4.1.1466.115.121.1.58"
	syntaxUUID      = "1.3.6.1.1.16.1"
	syntaxCertMatch = "1.3.6.1.1.15.1"
	syntaxCRLMatch  = "1.3.6.1.1.15.5"
)

// matchingRules are those of RFC 4517, RFC 4523 and RFC 4530 that attributes of the schema name. Certificates and lists
// are compared by their octets: the assertion is a whole one.
var matchingRules = []*matchingRule{
	{oid: "2.5.13.0", name: "objectIdentifierMatch", syntax: syntaxOID, family: otherFamily, norm: normOID},
	{oid: "2.5.13.1", name: "distinguishedNameMatch", syntax: syntaxDN, family: dnFamily, norm: normDN},
	{oid: "2.5.13.2", name: "caseIgnoreMatch", syntax: syntaxText, family: textFamily, norm: normFold},
	{oid: "2.5.13.4", name: "caseIgnoreSubstringsMatch", syntax: syntaxSubstring, family: textFamily, norm: normFold, piece: foldPiece},
	{oid: "2.5.13.5", name: "caseExactMatch", syntax: syntaxText, family: textFamily, norm: normExact},
	{oid: "2.5.13.7", name: "caseExactSubstringsMatch", syntax: syntaxSubstring, family: textFamily, norm: normExact, piece: exactPiece},
	{oid: "2.5.13.8", name: "numericStringMatch", syntax: syntaxNumeric, family: otherFamily, norm: normNumeric},
	{oid: "2.5.13.10", name: "numericStringSubstringsMatch", syntax: syntaxSubstring, family: otherFamily, norm: normNumeric, piece: numericPiece},
	{oid: "2.5.13.11", name: "caseIgnoreListMatch", syntax: syntaxPostal, family: otherFamily, norm: normFold},
	{oid: "2.5.13.12", name: "caseIgnoreListSubstringsMatch", syntax: syntaxSubstring, family: otherFamily, norm: normFold, piece: foldPiece},
	{oid: "2.5.13.13", name: "booleanMatch", syntax: syntaxBoolean, family: otherFamily, norm: normBoolean},
	{oid: "2.5.13.14", name: "integerMatch", syntax: syntaxInteger, family: numberFamily, norm: normInteger},
	{oid: "2.5.13.15", name: "integerOrderingMatch", syntax: syntaxInteger, family: numberFamily, norm: normInteger, order: orderIntegers},
	{oid: "2.5.13.16", name: "bitStringMatch", syntax: syntaxBits, family: otherFamily, norm: normBits},
	{oid: "2.5.13.17", name: "octetStringMatch", syntax: syntaxOctets, family: octetFamily, norm: normOctets},
	{oid: "2.5.13.20", name: "telephoneNumberMatch", syntax: syntaxTelephone, family: otherFamily, norm: normTelephone},
	{oid: "2.5.13.21", name: "telephoneNumberSubstringsMatch", syntax: syntaxSubstring, family: otherFamily, norm: normTelephone, piece: telephonePiece},
	{oid: "2.5.13.27", name: "generalizedTimeMatch", syntax: syntaxTime, family: timeFamily, norm: normTime},
	{oid: "2.5.13.28", name: "generalizedTimeOrderingMatch", syntax: syntaxTime, family: timeFamily, norm: normTime, order: strings.Compare},
	{oid: "2.5.13.30", name: "objectIdentifierFirstComponentMatch", syntax: syntaxOID, family: otherFamily, norm: normFirstOID},
	{oid: "2.5.13.34", name: "certificateExactMatch", syntax: syntaxCertMatch, family: otherFamily, norm: normCertificate},
	{oid: "2.5.13.38", name: "certificateListExactMatch", syntax: syntaxCRLMatch, family: otherFamily, norm: normOctets},
	{oid: "1.3.6.1.4.1.1466.109.114.1", name: "caseExactIA5Match", syntax: syntaxIA5, family: ia5Family, norm: normExactIA5},
	{oid: "1.3.6.1.4.1.1466.109.114.2", name: "caseIgnoreIA5Match", syntax: syntaxIA5, family: ia5Family, norm: normFoldIA5},
	{oid: "1.3.6.1.4.1.1466.109.114.3", name: "caseIgnoreIA5SubstringsMatch", syntax: syntaxSubstring, family: ia5Family, norm: normFoldIA5, piece: foldPiece},
	{oid: "1.3.6.1.1.16.2", name: "UUIDMatch", syntax: syntaxUUID, family: otherFamily, norm: normUUID},
	{oid: "1.3.6.1.1.16.3", name: "UUIDOrderingMatch", syntax: syntaxUUID, family: otherFamily, norm: normUUID, order: strings.Compare},
}

// ruleByName finds a rule by name or OID, or returns nil.
func ruleByName(name string) *matchingRule {
	if name == "" {
		return nil
	}
	for _, r := range matchingRules {
		if strings.EqualFold(r.name, name) || r.oid == name {
			return r
		}
	}
	return nil
}

// prepare is the string preparation of RFC 4518 as far as it matters here: NFKC, folded case, and no space that does
// not count. Text that is not UTF-8 has no normal form.
func prepare(v string, fold bool) (string, bool) {
	if plain(v) {
		if fold {
			v = strings.ToLower(v)
		}
		return squeeze(v), true
	}
	if !utf8.ValidString(v) {
		return "", false
	}
	v = norm.NFKC.String(v)
	if fold {
		v = norm.NFKC.String(cases.Fold().String(v))
	}
	return squeeze(v), true
}

func plain(v string) bool {
	for i := range len(v) {
		if v[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// squeeze trims spaces and joins several into one.
func squeeze(v string) string {
	v = strings.Trim(v, " ")
	if strings.Contains(v, "  ") {
		v = join(v)
	}
	return v
}

// join makes one space of several.
func join(v string) string {
	var b strings.Builder
	for i := range len(v) {
		if v[i] == ' ' && i > 0 && v[i-1] == ' ' {
			continue
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

func normFold(_ *catalog, v string) (string, bool) { return prepare(v, true) }

func normExact(_ *catalog, v string) (string, bool) { return prepare(v, false) }

func normFoldIA5(_ *catalog, v string) (string, bool) { return squeeze(strings.ToLower(v)), plain(v) }

func normExactIA5(_ *catalog, v string) (string, bool) { return squeeze(v), plain(v) }

func normOctets(_ *catalog, v string) (string, bool) { return v, true }

// normCertificate makes one form of certificates and of assertions about them.
func normCertificate(c *catalog, v string) (string, bool) {
	if strings.HasPrefix(v, "{") {
		return c.certificateAssertion(v)
	}
	return c.certificateForm(v), true
}

func normDN(c *catalog, v string) (string, bool) {
	d, err := c.parseDN(v)
	return d.norm, err == nil
}

// normOID makes one form of the names and the OID of a class or an attribute type.
func normOID(c *catalog, v string) (string, bool) {
	if cl := c.class(v); cl != nil {
		return cl.key, true
	}
	if t := c.typ(v); t != nil {
		return t.key, true
	}
	return v, numericOID(v)
}

// normFirstOID takes the OID out of a schema definition; an assertion is the OID or a name.
func normFirstOID(c *catalog, v string) (string, bool) {
	if body, ok := strings.CutPrefix(v, "( "); ok {
		v, _, _ = strings.Cut(body, " ")
	}
	return normOID(c, v)
}

func normBoolean(_ *catalog, v string) (string, bool) { return v, v == "TRUE" || v == "FALSE" }

func normInteger(_ *catalog, v string) (string, bool) { return v, integer(v) }

func normBits(_ *catalog, v string) (string, bool) { return v, bitString(v) }

func normNumeric(_ *catalog, v string) (string, bool) { return numericPiece(v), numericString(v) }

func normTelephone(_ *catalog, v string) (string, bool) { return telephonePiece(v), printable(v) }

func normUUID(_ *catalog, v string) (string, bool) { return strings.ToLower(v), uuidText(v) }

func foldPiece(v string) string {
	if plain(v) {
		return join(strings.ToLower(v))
	}
	return join(norm.NFKC.String(cases.Fold().String(norm.NFKC.String(v))))
}

func exactPiece(v string) string { return join(norm.NFKC.String(v)) }

func numericPiece(v string) string { return strings.ReplaceAll(v, " ", "") }

func telephonePiece(v string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(v))
}

// orderIntegers compares two normal forms of any length.
func orderIntegers(a, b string) int {
	na, nb := strings.HasPrefix(a, "-"), strings.HasPrefix(b, "-")
	switch {
	case na && nb:
		return orderIntegers(b[1:], a[1:])
	case na:
		return -1
	case nb:
		return 1
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
