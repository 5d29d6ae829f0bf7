package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show how the running server is: sessions, directory, queue, disk, certificates",
		Description: `Exit status: 0 it runs and is well, 1 it is not, or does not answer.

Examples:

   dirpost status
   dirpost status --json
   curl http://127.0.0.1:8025/healthz             for programs that watch: 200 or 503
   curl http://127.0.0.1:8025/metrics             for Prometheus`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			var r statusReport
			if err := control(c, "GET", "/status", &r); err != nil {
				return err
			}
			if err := show(c, r, func(w io.Writer) error { return r.print(w) }); err != nil {
				return err
			}
			if len(r.Problems) > 0 {
				return errors.New("the server is not well: " + strings.Join(r.Problems, "; "))
			}
			return nil
		},
	}
}

// A statusReport is what dirpost status shows.
type statusReport struct {
	Version      string              `json:"version"`
	PID          int                 `json:"pid"`
	Hostname     string              `json:"hostname"`
	Started      time.Time           `json:"started"`
	Problems     []string            `json:"problems"` // empty = it is well
	Services     []serviceReport     `json:"services"`
	Directory    directoryReport     `json:"directory"`
	Queue        queueReport         `json:"queue"`
	Disks        []diskReport        `json:"disks"`
	Certificates []certificateReport `json:"certificates"`
	Process      processReport       `json:"process"`
}

type serviceReport struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Open      int64    `json:"open"`  // connections now
	Total     uint64   `json:"total"` // connections since the start
}

type directoryReport struct {
	Embedded bool     `json:"embedded"`
	Servers  []string `json:"servers,omitempty"`
	Answers  bool     `json:"answers"`
	Millis   float64  `json:"milliseconds"` // until it answered
	Err      string   `json:"error,omitempty"`

	View viewReport `json:"view"`
}

// A viewReport tells of the view of the directory, which answers what it can.
type viewReport struct {
	Source  string  `json:"source"`  // how changes are learned: syncrepl, psearch, poll or ttl; empty = not known yet
	Current bool    `json:"current"` // it is kept as the directory is
	Entries int     `json:"entries"`
	Seconds float64 `json:"age_seconds"` // since it was known to be right
	Err     string  `json:"error,omitempty"`
}

type queueReport struct {
	Messages int       `json:"messages"`
	Oldest   time.Time `json:"oldest,omitzero"` // when it arrived
}

type diskReport struct {
	What       string `json:"what"` // data or cache
	Path       string `json:"path"`
	FreeBytes  uint64 `json:"free_bytes"`
	TotalBytes uint64 `json:"total_bytes"`
	FreeFiles  uint64 `json:"free_files"`
	Err        string `json:"error,omitempty"`
}

type certificateReport struct {
	File     string    `json:"file"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
}

type processReport struct {
	ResidentBytes uint64  `json:"resident_bytes"`
	OpenFiles     uint64  `json:"open_files"`
	MaxFiles      uint64  `json:"max_files"`
	Goroutines    uint64  `json:"goroutines"`
	CPUSeconds    float64 `json:"cpu_seconds"`
}

// report tells how the server is now.
func (p *platform) report(ctx context.Context) statusReport {
	r := statusReport{
		Version: version, PID: os.Getpid(), Hostname: p.cfg.Hostname, Started: p.began,
		Directory: p.directoryReport(ctx), Queue: p.queueReport(), Disks: p.disks(), Process: ownProcess(),
	}
	for _, e := range p.endpoints {
		r.Services = append(r.Services, serviceReport{e.name, e.addresses, e.traffic.open.Load(), e.traffic.total.Load()})
	}
	for _, c := range p.certs.Expiry() {
		r.Certificates = append(r.Certificates, certificateReport(c))
	}
	r.Problems = p.problems(r.Directory, r.Disks)
	return r
}

// health is the short form of report.
func (p *platform) health(ctx context.Context) []string {
	return p.problems(p.directoryReport(ctx), p.disks())
}

// problems names the reasons why the server is not well.
func (p *platform) problems(dir directoryReport, disks []diskReport) []string {
	problems := []string{}
	p.mu.Lock()
	if p.stopping {
		problems = append(problems, "it is stopping")
	}
	p.mu.Unlock()
	if !dir.Answers {
		problems = append(problems, "the directory does not answer: "+dir.Err)
	}
	for _, d := range disks {
		switch {
		case d.Err != "":
			problems = append(problems, d.What+": "+d.Err)
		case d.FreeBytes < minFreeBytes || d.FreeFiles < minFreeFiles:
			problems = append(problems, fmt.Sprintf("%s: %s and %d files are all that is free at %s", d.What, bytesText(d.FreeBytes), d.FreeFiles, d.Path))
		}
	}
	for _, c := range p.certs.Expiry() {
		if time.Now().After(c.NotAfter) {
			problems = append(problems, fmt.Sprintf("the certificate in %s has ended on %s", c.File, c.NotAfter.Format(time.DateOnly)))
		}
	}
	return problems
}

// Below these a disk counts as full.
const (
	minFreeBytes = 100 << 20
	minFreeFiles = 1000
)

// pingTime is how long the directory may take to count as answering.
const pingTime = 3 * time.Second

func (p *platform) directoryReport(ctx context.Context) directoryReport {
	r := directoryReport{Embedded: p.embedded != nil, Servers: p.cfg.Directory.URIs}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	r.View = p.viewReport()
	begun := time.Now()
	err := p.client.Ping(ctx)
	r.Millis = float64(time.Since(begun).Microseconds()) / 1000
	if r.Answers = err == nil; err != nil {
		r.Err = err.Error()
	}
	return r
}

func (p *platform) queueReport() queueReport {
	items := p.queue.Items()
	r := queueReport{Messages: len(items)}
	if len(items) > 0 {
		r.Oldest = items[0].Received
	}
	return r
}

func (p *platform) viewReport() viewReport {
	fed := p.feed.Status()
	r := viewReport{Source: fed.Means, Err: fed.Err}
	if now, ok := p.view.Moment(); ok {
		r.Source, r.Current, r.Entries, r.Seconds = now.Origin.Means, now.Current, now.Len(), now.Age.Seconds()
	}
	return r
}

func (p *platform) disks() []diskReport {
	var disks []diskReport
	for _, d := range []diskReport{{What: "data", Path: p.cfg.Data}, {What: "cache", Path: p.cfg.Cache}} {
		var st unix.Statfs_t
		if err := unix.Statfs(d.Path, &st); err != nil {
			d.Err = err.Error()
		}
		d.FreeBytes, d.TotalBytes, d.FreeFiles = st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize), st.Ffree
		if st.Files == 0 {
			d.FreeFiles = 1<<64 - 1 // a file system without such a limit
		}
		disks = append(disks, d)
	}
	return disks
}

// ownProcess tells what this process uses. What the system does not tell is 0.
func ownProcess() processReport {
	r := processReport{Goroutines: uint64(runtime.NumGoroutine())}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseUint(fields[1], 10, 64)
			r.ResidentBytes = pages * uint64(os.Getpagesize())
		}
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.OpenFiles = uint64(len(entries))
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		r.MaxFiles = limit.Cur
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err == nil {
		r.CPUSeconds = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
	return r
}

// print shows the report to a person.
func (r *statusReport) print(w io.Writer) error {
	fmt.Fprintf(w, "dirpost %s (pid %d) as %s, for %s\n\n", r.Version, r.PID, r.Hostname, time.Since(r.Started).Round(time.Second))
	var rows [][]string
	for _, s := range r.Services {
		rows = append(rows, []string{s.Name, strings.Join(s.Addresses, " "), strconv.FormatInt(s.Open, 10), strconv.FormatUint(s.Total, 10)})
	}
	if err := printTable(w, []string{"SERVICE", "ADDRESS", "OPEN", "SINCE START"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	name := "embedded"
	if !r.Directory.Embedded {
		name = strings.Join(r.Directory.Servers, " ")
	}
	answer := fmt.Sprintf("answers in %.1f ms", r.Directory.Millis)
	if !r.Directory.Answers {
		answer = r.Directory.Err
	}
	rows = [][]string{{"directory", name, answer}, {"queue", "", r.Queue.String()}}
	rows = append(rows, []string{"view of it", r.Directory.View.where(), r.Directory.View.state()})
	for _, d := range r.Disks {
		rows = append(rows, []string{d.What, d.Path, fmt.Sprintf("%s free of %s", bytesText(d.FreeBytes), bytesText(d.TotalBytes))})
	}
	for _, c := range r.Certificates {
		days := int(time.Until(c.NotAfter).Hours() / 24)
		rows = append(rows, []string{"certificate", c.File, fmt.Sprintf("%s until %s, %d days", strings.Join(c.Names, " "), c.NotAfter.Format(time.DateOnly), days)})
	}
	rows = append(rows, []string{"process", bytesText(r.Process.ResidentBytes),
		fmt.Sprintf("%d of %d descriptors, %d goroutines", r.Process.OpenFiles, r.Process.MaxFiles, r.Process.Goroutines)})
	return printTable(w, []string{"PART", "WHERE", "STATE"}, rows)
}

// String tells it to a person.
func (q queueReport) String() string {
	switch q.Messages {
	case 0:
		return "empty"
	case 1:
		return "1 message, since " + q.Oldest.Format(time.DateTime)
	}
	return fmt.Sprintf("%d messages, the oldest since %s", q.Messages, q.Oldest.Format(time.DateTime))
}

func (r viewReport) where() string { return cmp.Or(r.Source, "none yet") }

func (r viewReport) state() string {
	switch {
	case r.Entries == 0 && r.Err != "":
		return r.Err
	case r.Entries == 0:
		return "every question goes to the directory"
	case r.Current:
		return fmt.Sprintf("%d entries, current", r.Entries)
	}
	return fmt.Sprintf("%d entries, %s old: %s", r.Entries, time.Duration(r.Seconds*float64(time.Second)).Round(time.Second), cmp.Or(r.Err, "kept from before"))
}

// bytesText writes a number of octets for people.
func bytesText(n uint64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1000, 0
	for v >= 999.95 {
		v /= 1000
		i++
	}
	return fmt.Sprintf("%.1f %cB", v, units[i])
}
