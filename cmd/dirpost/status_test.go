package main

import (
	"cmp"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/protocols/certs"
)

// get asks the port of those who watch.
func (s *site) get(path string) (int, string) {
	s.t.Helper()
	client := http.Client{Timeout: patience}
	resp, err := client.Get("http://" + s.addr["status"] + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := embeddedSite(t)
	s.watched()
	s.addPeople()
	if out := s.fails("status"); !strings.Contains(out, "the server does not answer at "+s.path("control")) {
		t.Errorf("before the start, status says %q", out)
	}
	s.start()
	if out, err := s.deliver(t, "one"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	open := talk(t, s.addr["imap"])
	open.say("a LOGIN alice wrong")
	open.hear("a NO")
	open.say("b LOGIN alice " + alicePassword)
	open.hear("b OK")

	var r statusReport
	if err := json.Unmarshal([]byte(s.dirpost("status", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) != 0 || r.PID != s.proc.Process.Pid || !r.Directory.Answers || !r.Directory.Embedded || r.Directory.View.Current == (told() == view.TTL) || r.Directory.View.Source != told() {
		t.Errorf("problems %q, pid %d, directory %+v", r.Problems, r.PID, r.Directory)
	}
	imap := r.Services[slices.IndexFunc(r.Services, func(s serviceReport) bool { return s.Name == "imap" })]
	if imap.Open != 1 || imap.Total != 1 {
		t.Errorf("imap has %d connections of %d, want 1 of 1", imap.Open, imap.Total)
	}
	if len(r.Certificates) != 1 || r.Certificates[0].File != s.path("tls/server.pem") || time.Until(r.Certificates[0].NotAfter) < time.Hour {
		t.Errorf("certificates: %+v", r.Certificates)
	}
	if len(r.Disks) != 2 || r.Disks[0].FreeBytes == 0 || r.Disks[0].FreeBytes > r.Disks[0].TotalBytes {
		t.Errorf("disks: %+v", r.Disks)
	}
	if p := r.Process; p.ResidentBytes < 1<<20 || p.OpenFiles < 10 || p.MaxFiles < p.OpenFiles || p.Goroutines < 10 {
		t.Errorf("process: %+v", p)
	}
	text := s.dirpost("status")
	for _, want := range []string{"(pid " + strconv.Itoa(r.PID) + ")", "imap", "embedded", "answers in ", " free of ", "localhost until "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	t.Run("metrics", s.testMetrics)
	open.say("c LOGOUT")
	open.hear("c OK")
}

var metricLine = regexp.MustCompile(`^([a-z_]+(?:\{(?:[a-z]+="[^"]*",?)+\})?) (\S+)$`)

// testMetrics reads the numbers as Prometheus does, and those that TestStatus has caused.
func (s *site) testMetrics(t *testing.T) {
	code, text := s.get("/metrics")
	if code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	got := map[string]float64{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		part := metricLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if part == nil {
			t.Fatalf("not in the format: %q", line)
		}
		v, err := strconv.ParseFloat(part[2], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got[part[1]] = v
	}
	for name, want := range map[string]float64{
		`dirpost_connections_open{service="imap"}`:                   1,
		`dirpost_connections_total{service="mx"}`:                    1,
		`dirpost_logins_total{service="imap",result="ok"}`:           1,
		`dirpost_logins_total{service="imap",result="wrong"}`:        1,
		`dirpost_deliveries_total{result="filed"}`:                   1,
		`dirpost_delivery_seconds_count`:                             1,
		`dirpost_ldap_operations_total{op="bind",result="answered"}`: 2,
		`dirpost_build_info{version="unknown"}`:                      1,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds", "go_goroutines",
		`dirpost_disk_free_bytes{folder="data"}`, `dirpost_ldap_seconds_sum{op="bind"}`, "dirpost_delivered_bytes_total",
		`dirpost_certificate_expiry_timestamp_seconds{file="` + s.path("tls/server.pem") + `"}`} {
		if got[name] <= 0 {
			t.Errorf("%s = %v, want more", name, got[name])
		}
	}
	if n, told := got[`dirpost_view_entries{source="`+told()+`"}`], told() != view.TTL; n > 0 != told {
		t.Errorf("%v entries in the view", n)
	}
}

// told is how the server learns of changes of the directory.
func told() string { return cmp.Or(os.Getenv("DIRPOST_TEST_FEED"), view.Syncrepl) }

// TestHealth: the reasons why a server is not well are told to those who watch, and to the administrator.
func TestHealth(t *testing.T) {
	t.Parallel()
	s, slapd := slapdSiteWith(t)
	s.watched()
	s.start()
	well := func(when string) {
		t.Helper()
		if code, body := s.get("/healthz"); code != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q, want 200", when, code, body)
		}
	}
	ill := func(when, reason string) {
		t.Helper()
		if code, body := s.get("/healthz"); code != 503 || !strings.Contains(body, reason) {
			t.Errorf("%s: %d %q, want 503 with %q", when, code, body, reason)
		}
		if out := s.fails("status"); !strings.Contains(out, "the server is not well: "+reason) {
			t.Errorf("%s: status says %q", when, out)
		}
	}
	well("at the start")
	slapd.Stop(t)
	ill("without a directory", "the directory does not answer: ")
	slapd.Start(t)
	well("with it again")

	past, err := s.ca.Issue(certs.Request{
		Subject: pkix.Name{CommonName: "past"}, Server: true, DNS: []string{"localhost"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := past.Write(s.path("tls/server.pem"), s.path("tls/server.key")); err != nil {
		t.Fatal(err)
	}
	s.dirpost("reload")
	ill("with an old certificate", "the certificate in "+s.path("tls/server.pem")+" has ended on ")
	s.renew("new")
	s.dirpost("reload")
	well("with a new one")
}

func TestBytesText(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1 << 30: "1.1 GB", 1<<64 - 1: "18.4 EB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}
