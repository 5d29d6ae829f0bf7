// Command bench compares the lines that the measuring bench printed for a rival and for dirpost: for each measurement the
// medians of both and their ratio. peer.sh puts one dirpost on that bench, peers.sh runs it beside the others.
//
// A ratio above 1 is in dirpost's favour: rates are divided by the rival's, latencies and CPU the other way round.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: bench LINES.jsonl")
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := compare(f, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// A line is what the bench prints of one run. Fields that a measurement does not have are 0.
type line struct {
	Label string  `json:"label"`
	Ops   float64 `json:"ops"`
	Rate  float64 `json:"ops_s"`
	P50   float64 `json:"p50_ms"`
	CPU   float64 `json:"srv_cpu_s"`
	RSS   float64 `json:"rss_kb"`
	Extra struct {
		Delivered float64 `json:"delivered_s"`
		PSSPerCon float64 `json:"pss_kb_per_conn"`
	} `json:"extra"`
}

// A figure is one way to look at a measurement.
type figure struct {
	name   string
	of     func(line) float64
	faster bool // more is better
}

var figures = []figure{
	{"delivered/s", func(l line) float64 { return l.Extra.Delivered }, true},
	{"ops/s", func(l line) float64 { return l.Rate }, true},
	{"p50 ms", func(l line) float64 { return l.P50 }, false},
	{"CPU ms/op", func(l line) float64 {
		if l.Ops == 0 {
			return 0
		}
		return 1000 * l.CPU / l.Ops
	}, false},
	{"PSS KB/connection", func(l line) float64 { return l.Extra.PSSPerCon }, false},
}

// compare reads lines labelled "rival …" and "dirpost …" and writes one row for each figure that both have.
func compare(r io.Reader, w io.Writer) error {
	runs := map[string]map[string][]line{} // by measurement and by who
	var order []string
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		who, what, _ := strings.Cut(l.Label, " ")
		if runs[what] == nil {
			runs[what] = map[string][]line{}
			order = append(order, what)
		}
		runs[what][who] = append(runs[what][who], l)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "measurement\tfigure\trival\tdirpost\tratio\t")
	for _, what := range order {
		for _, f := range figures {
			rival, own := median(runs[what]["rival"], f.of), median(runs[what]["dirpost"], f.of)
			if rival == 0 || own == 0 {
				continue
			}
			ratio := own / rival
			if !f.faster {
				ratio = rival / own
			}
			fmt.Fprintf(tw, "%s\t%s\t%.3g\t%.3g\t%.2f\t\n", what, f.name, rival, own, ratio)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return tw.Flush()
}

// median is that of the runs that have the figure.
func median(lines []line, of func(line) float64) float64 {
	var values []float64
	for _, l := range lines {
		if v := of(l); v != 0 {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}
