package survey

import (
	"slices"
	"testing"
)

func TestNamesIn(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		`( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'NAME ''x''' SUP name )`: {"cn", "commonName"},
		`( 2.5.4.4 NAME 'sn' SUP name )`:                                    {"sn"},
		`( 1.2.840.113556.1.4.2 NAME  'objectGUID' SYNTAX '1.3' )`:          {"objectGUID"},
		`( 1.2.3 )`: nil,
		``:          nil,
	} {
		if got := namesIn(in); !slices.Equal(got, want) {
			t.Errorf("namesIn(%q) = %q, want %q", in, got, want)
		}
	}
}
