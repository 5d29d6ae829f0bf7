package dit

import "testing"

func TestNormalForms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, in, want string
		ok             bool
	}{
		{"caseIgnoreMatch", "  Foo   BAR ", "foo bar", true},
		{"caseIgnoreMatch", "STRASSE", "strasse", true},
		{"caseIgnoreMatch", "Straße", "strasse", true},
		{"caseIgnoreMatch", "ｆｕｌｌ　ｗｉｄｔｈ", "full width", true},
		{"caseIgnoreMatch", "\xff", "", false},
		{"caseExactMatch", " Foo  Bar", "Foo Bar", true},
		{"caseIgnoreIA5Match", "Joe@EXAMPLE.org", "joe@example.org", true},
		{"caseIgnoreIA5Match", "jö@example.org", "", false},
		{"caseExactIA5Match", "M-1 ", "M-1", true},
		{"integerMatch", "-5", "-5", true},
		{"integerMatch", "0", "0", true},
		{"integerMatch", "-0", "", false},
		{"integerMatch", "007", "", false},
		{"integerMatch", "", "", false},
		{"booleanMatch", "TRUE", "TRUE", true},
		{"booleanMatch", "true", "", false},
		{"generalizedTimeMatch", "20260102030405Z", "20260102030405Z", true},
		{"generalizedTimeMatch", "202601020304Z", "20260102030400Z", true},
		{"generalizedTimeMatch", "2026010203Z", "20260102030000Z", true},
		{"generalizedTimeMatch", "20260102030405+0130", "20260102013405Z", true},
		{"generalizedTimeMatch", "20260102030405-02", "20260102050405Z", true},
		{"generalizedTimeMatch", "20260102030405.1200Z", "20260102030405.12Z", true},
		{"generalizedTimeMatch", "20260102030405,0Z", "20260102030405Z", true},
		{"generalizedTimeMatch", "20260102030405", "", false},
		{"generalizedTimeMatch", "20260132030405Z", "", false},
		{"generalizedTimeMatch", "20260102030405.Z", "", false},
		{"distinguishedNameMatch", "UID = A,dc=X", "uid=a,dc=x", true},
		{"distinguishedNameMatch", "nonsense", "", false},
		{"objectIdentifierMatch", "2.5.6.6", "person", true},
		{"objectIdentifierMatch", "PERSON", "person", true},
		{"objectIdentifierMatch", "commonName", "cn", true},
		{"objectIdentifierMatch", "1.2.3", "1.2.3", true},
		{"objectIdentifierMatch", "nosuch", "", false},
		{"objectIdentifierMatch", "1..2", "", false},
		{"telephoneNumberMatch", "+43 1 23-45", "+4312345", true},
		{"numericStringMatch", "12 34", "1234", true},
		{"UUIDMatch", "597AE2F6-16A6-1027-98F4-D28B5365DC14", "597ae2f6-16a6-1027-98f4-d28b5365dc14", true},
		{"UUIDMatch", "597ae2f616a6102798f4d28b5365dc14", "", false},
		{"octetStringMatch", "A b", "A b", true},
		{"bitStringMatch", "'0101'B", "'0101'B", true},
		{"bitStringMatch", "'0121'B", "", false},
		{"objectIdentifierFirstComponentMatch", "( 2.5.4.3 NAME 'cn' )", "cn", true},
	}
	for _, tt := range tests {
		t.Run(tt.rule+" "+tt.in, func(t *testing.T) {
			t.Parallel()
			got, ok := ruleByName(tt.rule).norm(loadCatalog(), tt.in)
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("got %q, %v; want %q, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestOrderOfIntegers(t *testing.T) {
	t.Parallel()
	ascending := []string{"-100", "-99", "-1", "0", "1", "9", "10", "99999999999999999999999"}
	for i, a := range ascending {
		for k, b := range ascending {
			if got, want := orderIntegers(a, b), compareInts(i, k); got != want {
				t.Errorf("orderIntegers(%s, %s) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Every rule and syntax that the schema names must be in the tables, else values would go unchecked.
func TestTablesCoverTheSchema(t *testing.T) {
	t.Parallel()
	c := loadCatalog()
	for _, a := range c.schema.AttributeTypes {
		for _, rule := range []string{a.Equality, a.Ordering, a.Substr} {
			if rule != "" && ruleByName(rule) == nil {
				t.Errorf("%s: matching rule %s is not in the table", a.Name(), rule)
			}
		}
		if a.Syntax != "" && syntaxByOID(a.Syntax).name == "" {
			t.Errorf("%s: syntax %s is not in the table", a.Name(), a.Syntax)
		}
		if a.Ordering != "" && ruleByName(a.Ordering).order == nil || a.Substr != "" && ruleByName(a.Substr).piece == nil {
			t.Errorf("%s: its rules cannot order or find pieces", a.Name())
		}
	}
	for _, name := range unique {
		if typ := c.typ(name); len(typ.indexes) == 0 {
			t.Errorf("%s must be unique and is not indexed", name)
		}
	}
	for _, name := range refintAttrs {
		if typ := c.typ(name); len(typ.indexes) == 0 {
			t.Errorf("%s follows renames and is not indexed", name)
		}
	}
}
