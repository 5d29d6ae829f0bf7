package main

import (
	"strings"
	"testing"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
)

// What an LDAP server of one's own lacks is named when dirpost starts, and by the command, by the name that the server would
// have it under.
func TestDirectoryCheck(t *testing.T) {
	t.Parallel()
	s := slapdSite(t)
	if out := s.dirpost("directory", "check"); strings.Contains(out, "FAULT") || !strings.Contains(out, "OK     1 mail domain\n") {
		t.Errorf("of a whole directory the check says\n%s", out)
	}
	s.configure(func(c *config.Config) {
		c.Directory.Attributes = map[string]string{"dpQuotaBytes": "mailQuotaSize", "uid": "loginName"}
	})
	if out := s.fails("directory", "check"); !strings.Contains(out, "LACKS  attribute mailQuotaSize is not in the server's schema (it stands for dpQuotaBytes): no quotas by size") ||
		!strings.Contains(out, "FAULT  attribute loginName is not") || !strings.Contains(out, "not fit to serve") {
		t.Errorf("of attributes that are not there the check says\n%s", out)
	}
	s.start()
	var told []string
	for _, line := range s.await("the directory is not complete", 2) {
		told = append(told, line["finding"].(string)+" "+line["what"].(string))
	}
	if got := strings.Join(told, "\n"); !strings.Contains(got, "lacks attribute mailQuotaSize") || !strings.Contains(got, "fault attribute loginName") {
		t.Errorf("the log says\n%s", got)
	}
}
