package ucmd

import (
	"encoding/json"
	"fmt"
)

// stateJSON is a State as programs read it.
type stateJSON struct {
	Number uint8  `json:"number"`
	Name   string `json:"name"`
}

// MarshalJSON implements json.Marshaler: {"number":3,"name":"EXECING"}.
func (s State) MarshalJSON() ([]byte, error) {
	return json.Marshal(stateJSON{Number: uint8(s), Name: s.String()})
}

// UnmarshalJSON implements json.Unmarshaler. The number counts; the name is for
// people.
func (s *State) UnmarshalJSON(b []byte) error {
	var j stateJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("state of a ucmd: %w", err)
	}
	*s = State(j.Number)
	return nil
}

var (
	_ json.Marshaler   = State(0)
	_ json.Unmarshaler = (*State)(nil)
)
