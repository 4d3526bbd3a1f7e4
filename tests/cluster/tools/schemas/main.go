// Reads objects as JSON, one after the other, and says what is wrong with each: a field that its kind does not have, a
// value of another type, an expression that Prometheus cannot parse. Exits with 1 when something was.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
	networking "k8s.io/api/networking/v1"
)

func main() {
	wrong := false
	for input := json.NewDecoder(os.Stdin); ; {
		var object json.RawMessage
		if err := input.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		if err := check(object); err != nil {
			fmt.Println(err)
			wrong = true
		}
	}
	if wrong {
		os.Exit(1)
	}
}

func check(object []byte) error {
	var named struct {
		APIVersion string
		Kind       string
	}
	if err := json.Unmarshal(object, &named); err != nil {
		return err
	}
	switch named.APIVersion + " " + named.Kind {
	case "networking.k8s.io/v1 NetworkPolicy":
		return strict(object, &networking.NetworkPolicy{})
	case "monitoring.coreos.com/v1 PodMonitor":
		return strict(object, &monitoring.PodMonitor{})
	case "monitoring.coreos.com/v1 PrometheusRule":
		return rule(object)
	case "expression Dashboard":
		var asked struct{ APIVersion, Kind, Expr string }
		return errors.Join(strict(object, &asked), expression(asked.Expr))
	}
	return fmt.Errorf("%s %s: no schema", named.APIVersion, named.Kind)
}

func rule(object []byte) error {
	var found monitoring.PrometheusRule
	if err := strict(object, &found); err != nil {
		return err
	}
	var wrong []error
	for _, group := range found.Spec.Groups {
		for _, one := range group.Rules {
			wrong = append(wrong, expression(one.Expr.String()))
		}
	}
	return errors.Join(wrong...)
}

func expression(text string) error {
	if _, err := parser.NewParser(parser.Options{}).ParseExpr(text); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

func strict(object []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
