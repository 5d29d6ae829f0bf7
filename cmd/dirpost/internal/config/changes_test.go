package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChangesNamesKeys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"nothing", func(*Config) {}, nil},
		{"a key at the top and one in a table", func(c *Config) { c.Data, c.Log.Level = "/d", "debug" }, []string{"data", "log.level"}},
		{"an element of a list", func(c *Config) { c.Listen.MX = []string{":25", ":2525"} }, []string{"listen.mx"}},
		{"an empty list is no list", func(c *Config) { c.Directory.URIs = []string{} }, nil},
		{"a list of tables is one key", func(c *Config) { c.TLS = []KeyPair{{"a", "b"}} }, []string{"tls"}},
		{"a duration", func(c *Config) { c.Limits.Idle = Duration(time.Hour) }, []string{"limits.idle"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := Default()
			tt.change(&b)
			if diff := cmp.Diff(tt.want, Changes(Default(), b)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
