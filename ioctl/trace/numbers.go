package trace

import (
	"bytes"
	"encoding/json"
)

// unmarshalNumbers is json.Unmarshal that does not turn numbers into floats,
// which lose bits.
func unmarshalNumbers(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}
