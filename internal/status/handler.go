package status

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"scstuser/ucmd"
)

// ControlHandler answers on a control socket:
//
//	GET /status                  the Snapshot; ?commands=1 with the ucmds
//	GET /devices/NAME/commands   the commands listing (rule R73), as text in the
//	                             module's format, or as JSON if ?format=json or
//	                             the Accept header asks for it
//	GET /metrics                 as MetricsHandler
func ControlHandler(src Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		commands := r.URL.Query().Get("commands")
		writeJSON(w, src.Snapshot(commands != "" && commands != "0"))
	})
	mux.HandleFunc("GET /devices/{name}/commands", func(w http.ResponseWriter, r *http.Request) {
		d := src.Device(r.PathValue("name"))
		if d == nil {
			http.Error(w, "there is no such device; GET /status lists them", http.StatusNotFound)
			return
		}
		writeCommands(w, r, d)
	})
	mux.Handle("GET /metrics", metricsHandler(src))
	return http.MaxBytesHandler(mux, 0)
}

// MetricsHandler answers GET /metrics in Prometheus' text format, and nothing
// else.
func MetricsHandler(src Source) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metricsHandler(src))
	return http.MaxBytesHandler(mux, 0)
}

func metricsHandler(src Source) http.Handler {
	return promhttp.HandlerFor(newRegistry(src), promhttp.HandlerOpts{})
}

// writeCommands answers with a device's ucmds.
func writeCommands(w http.ResponseWriter, r *http.Request, d *ucmd.Device) {
	switch format := r.URL.Query().Get("format"); {
	case format == "json", format == "" && strings.Contains(r.Header.Get("Accept"), "application/json"):
		commands := d.Commands()
		if commands == nil {
			commands = []ucmd.Command{}
		}
		writeJSON(w, commands)
	case format == "", format == "text":
		var b bytes.Buffer
		if err := d.WriteCommands(&b); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		send(w, &b)
	default:
		http.Error(w, "format must be text or json", http.StatusBadRequest)
	}
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	send(w, bytes.NewReader(append(text, '\n')))
}

// send sends an answer. A client that has gone does not matter.
func send(w http.ResponseWriter, body io.Reader) {
	_, _ = io.Copy(w, body)
}
