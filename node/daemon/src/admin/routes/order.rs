//! `POST /devices/order`: the operator cordons, drains, probes or returns a device.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Json;
use node_core::machine::operator::{OperatorAnswer, OperatorRequest, OrderRefused};

use super::operator::{ask, refuse};
use crate::admin::operator::OrderRequest;
use crate::admin::AdminState;

pub(super) async fn order(
    State(state): State<AdminState>,
    Json(OrderRequest { device, order }): Json<OrderRequest>,
) -> Response {
    match ask(&state, OperatorRequest::Order { device, order }).await {
        Ok(OperatorAnswer::Ordered(Ok(row))) => Json(row).into_response(),
        Ok(OperatorAnswer::Ordered(Err(reason))) => {
            let status = match reason {
                OrderRefused::Unknown => StatusCode::NOT_FOUND,
                OrderRefused::Gone => StatusCode::GONE,
                OrderRefused::Busy | OrderRefused::NothingToProbe => StatusCode::CONFLICT,
            };
            refuse(status, reason.name(), &reason.to_string())
        }
        Ok(OperatorAnswer::Reopened(_) | OperatorAnswer::Resolved(_)) => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(response) => response,
    }
}
